{{- define "leadline.name" -}}
{{ printf "%s-%s" .root.Release.Name .service | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "leadline.selector" -}}
app.kubernetes.io/name: leadline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "leadline.labels" -}}
{{ include "leadline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "leadline.image" -}}
{{- $repository := ternary .root.Values.image.coordinator .root.Values.image.compute (has .service (list "coordinator" "api")) -}}
{{ printf "%s:%s" $repository (default .root.Chart.AppVersion .root.Values.image.tag) }}
{{- end }}

{{/* The database's role, and Kafka's user: the API is the coordinator. */}}
{{- define "leadline.role" -}}
{{ ternary "coordinator" .service (eq .service "api") }}
{{- end }}

{{- define "leadline.kafka.env" -}}
{{- $kafka := .root.Values.kafka -}}
- { name: LEADLINE_KAFKA, value: {{ $kafka.bootstrapServers | quote }} }
{{- if $kafka.namespace }}
- { name: LEADLINE_KAFKA_NAMESPACE, value: {{ $kafka.namespace | quote }} }
{{- end }}
- { name: LEADLINE_KAFKA_SECURITY_PROTOCOL, value: {{ $kafka.protocol | quote }} }
{{- if hasPrefix "SASL" $kafka.protocol }}
- { name: LEADLINE_KAFKA_SASL_MECHANISM, value: {{ required "kafka.mechanism is needed with SASL" $kafka.mechanism | quote }} }
{{- if eq $kafka.mechanism "OAUTHBEARER" }}
- { name: LEADLINE_KAFKA_OAUTH_TOKEN_URL, value: {{ required "kafka.oauth.tokenUrl is needed with OAUTHBEARER" $kafka.oauth.tokenUrl | quote }} }
- { name: LEADLINE_KAFKA_OAUTH_CLIENT_ID, value: {{ required "kafka.oauth.clientId is needed with OAUTHBEARER" $kafka.oauth.clientId | quote }} }
- { name: LEADLINE_KAFKA_OAUTH_CLIENT_SECRET_FILE, value: /etc/leadline/secrets/kafka }
{{- if $kafka.oauth.scope }}
- { name: LEADLINE_KAFKA_OAUTH_SCOPE, value: {{ $kafka.oauth.scope | quote }} }
{{- end }}
{{- else }}
- { name: LEADLINE_KAFKA_USERNAME, value: {{ printf "%s%s" $kafka.usersPrefix (include "leadline.role" .) | quote }} }
- { name: LEADLINE_KAFKA_PASSWORD_FILE, value: /etc/leadline/secrets/kafka }
{{- end }}
{{- end }}
{{- if and (hasSuffix "SSL" $kafka.protocol) $kafka.tlsSecret }}
- { name: LEADLINE_KAFKA_SSL_CA, value: /etc/leadline/kafka/ca.crt }
{{- if eq $kafka.protocol "SSL" }}
- { name: LEADLINE_KAFKA_SSL_CERT, value: /etc/leadline/kafka/tls.crt }
- { name: LEADLINE_KAFKA_SSL_KEY, value: /etc/leadline/kafka/tls.key }
{{- end }}
{{- end }}
{{- end }}

{{- define "leadline.database.env" -}}
{{- $database := .root.Values.database -}}
{{- $role := printf "leadline_%s" (include "leadline.role" .) -}}
{{- $parameters := ternary (printf "?%s" $database.parameters) "" (ne $database.parameters "") -}}
- { name: LEADLINE_DATABASE_URL, value: {{ printf "postgresql://%s@%s:%v/%s%s" $role $database.host $database.port $database.name $parameters | quote }} }
- { name: LEADLINE_DATABASE_PASSWORD_FILE, value: /etc/leadline/secrets/database }
{{- if .token }}
- { name: LEADLINE_API_DATABASE_URL, value: {{ printf "postgresql://leadline_api@%s:%v/%s%s" $database.host $database.port $database.name $parameters | quote }} }
- { name: LEADLINE_API_DATABASE_PASSWORD_FILE, value: /etc/leadline/secrets/api }
{{- end }}
{{- end }}

{{/* Secrets as one read-only directory, each under the name its variable says. `kafka` and `database` say which are wanted. */}}
{{- define "leadline.volumes" -}}
- name: tmp
  emptyDir: { sizeLimit: 256Mi }
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- if .database }}
      - secret:
          name: {{ .root.Values.database.secret }}
          items:
            - { key: {{ include "leadline.role" . }}, path: database }
            {{- if .token }}
            - { key: api, path: api }
            {{- end }}
      {{- end }}
      {{- if .migrate }}
      - secret:
          name: {{ .root.Values.database.secret }}
          items:
            - { key: admin-url, path: admin-url }
            {{- range list "coordinator" "api" "ingest" "factors" "snapshots" "risk" }}
            - { key: {{ . }}, path: {{ . }} }
            {{- end }}
      {{- end }}
      {{- if and .kafka (hasPrefix "SASL" .root.Values.kafka.protocol) }}
      - secret:
          name: {{ required "kafka.secret is needed with SASL" .root.Values.kafka.secret }}
          items: [{ key: {{ ternary "oauth-client-secret" (include "leadline.role" .) (eq .root.Values.kafka.mechanism "OAUTHBEARER") }}, path: kafka }]
      {{- end }}
      {{- if and .token .root.Values.token.secret }}
      - secret:
          name: {{ .root.Values.token.secret }}
          items: [{ key: token, path: token }]
      {{- end }}
      {{- if and .token .root.Values.oidc.issuer }}
      - secret:
          name: {{ required "oidc.secret is needed with oidc.issuer" .root.Values.oidc.secret }}
          items: [{ key: client-secret, path: oidc }]
      {{- end }}
{{- if and (or .database .migrate) .root.Values.database.tlsSecret }}
- name: database-tls
  secret: { secretName: {{ .root.Values.database.tlsSecret }}, defaultMode: 0440 }
{{- end }}
{{- if and .kafka .root.Values.kafka.tlsSecret }}
- name: kafka-tls
  secret: { secretName: {{ .root.Values.kafka.tlsSecret }}, defaultMode: 0440 }
{{- end }}
{{- if .data }}
- name: data
  persistentVolumeClaim: { claimName: {{ .data }}, readOnly: true }
{{- end }}
{{- end }}

{{- define "leadline.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: secrets, mountPath: /etc/leadline/secrets, readOnly: true }
{{- if and (or .database .migrate) .root.Values.database.tlsSecret }}
- { name: database-tls, mountPath: /etc/leadline/database, readOnly: true }
{{- end }}
{{- if and .kafka .root.Values.kafka.tlsSecret }}
- { name: kafka-tls, mountPath: /etc/leadline/kafka, readOnly: true }
{{- end }}
{{- if .data }}
- { name: data, mountPath: /data, readOnly: true }
{{- end }}
{{- end }}

{{- define "leadline.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "leadline.container" -}}
image: {{ include "leadline.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}
