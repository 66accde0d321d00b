// The bundle is deferred like this module and stands before it, so it is there.
const place = document.getElementById("swagger");
window.SwaggerUIBundle({ url: place.dataset.openapi, domNode: place, deepLinking: true, validatorUrl: null });
