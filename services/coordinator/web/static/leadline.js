// What the page does beyond links and forms: charts one can read values from, the grid of everything, going places by keyboard.
// Without it every page can be read and every form be sent.

const root = document.documentElement;

// --- display: chosen here, kept in this browser
for (const name of ["scheme", "tones"]) {
  const chosen = localStorage.getItem(`leadline.${name}`);
  if (chosen) root.dataset[name] = chosen;
  const select = document.querySelector(`[data-choice="${name}"]`);
  if (!select) continue;
  select.value = chosen ?? "";
  select.addEventListener("change", () => {
    localStorage.setItem(`leadline.${name}`, select.value);
    if (select.value) root.dataset[name] = select.value;
    else delete root.dataset[name];
  });
}

// light-dark() is resolved where a colour is used: an element of ours lends itself to that.
function colour(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// --- charts over time
function plot(box) {
  const data = JSON.parse(box.querySelector("script").textContent);
  const seconds = data.sessions.map((day) => Date.parse(day) / 1000);
  const language = root.lang || "en";
  const money = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const short = new Intl.NumberFormat(language, { notation: "compact" });
  const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const flows = new Map(data.flows);
  const ink = colour("--quiet"), rule = colour("--line");
  const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "11px system-ui, sans-serif" };
  const cursor = { sync: { key: "portfolio" }, drag: { x: true, y: false } };
  // Where nothing is pointed at, the legend says the newest values.
  const said = (values, write) => (u, v, of, at) => {
    const value = values[at ?? values.length - 1];
    return value == null ? "–" : write(value);
  };
  const day = said(data.sessions, (session) => session);
  const marks = (u) => {
    const ctx = u.ctx;
    ctx.save();
    ctx.strokeStyle = colour("--other");
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const [index] of flows) {
      const x = u.valToPos(seconds[index], "x", true);
      ctx.beginPath();
      ctx.moveTo(x, u.bbox.top + u.bbox.height - 10 * devicePixelRatio);
      ctx.lineTo(x, u.bbox.top + u.bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };
  const drawnHere = document.createElement("div");
  const lines = [
    { label: data.labels.session, value: day },
    { label: data.labels.nav, stroke: colour("--own"), width: 1.6, value: said(data.nav, money.format) },
  ];
  const series = [seconds, data.nav];
  if (data.benchmark) {
    lines.push({ label: data.labels.benchmark, stroke: colour("--other"), width: 1, value: said(data.benchmark, money.format) });
    series.push(data.benchmark);
  }
  const width = box.clientWidth;
  const above = new window.uPlot(
    { width, height: 280, cursor, tzDate: (ts) => window.uPlot.tzDate(new Date(ts * 1e3), "UTC"), hooks: { draw: [marks] }, series: lines,
      axes: [{ ...axis, size: 8, values: (u, ticks) => ticks.map(() => "") }, { ...axis, size: 56, values: (u, ticks) => ticks.map((v) => short.format(v)) }] }, series, drawnHere);
  const below = new window.uPlot(
    { width, height: 130, cursor, tzDate: (ts) => window.uPlot.tzDate(new Date(ts * 1e3), "UTC"),
      series: [{ label: data.labels.session, value: day }, { label: data.labels.drawdown, stroke: colour("--down"), fill: colour("--down").replace("rgb(", "rgba(").replace(")", ", .15)"), width: 1, value: said(data.drawdown, share.format) }],
      axes: [axis, { ...axis, size: 56, values: (u, ticks) => ticks.map((v) => share.format(v)) }] }, [seconds, data.drawdown], drawnHere);
  drawnHere.setAttribute("aria-hidden", "true");
  box.append(drawnHere);
  // The drawing of the server stays for print and for readers of the screen.
  box.classList.add("live");
  new ResizeObserver(() => {
    for (const one of [above, below]) one.setSize({ width: box.clientWidth, height: one.height });
  }).observe(box);
}

function begin(within) {
  for (const box of within.querySelectorAll("[data-plot]:not(.live)")) if (window.uPlot) plot(box);
  for (const box of within.querySelectorAll("[data-grid]:not(.live)")) grid(box);
}

// --- the grid: a row a portfolio, a column a session, one cell a pixel, scaled by the browser
async function grid(box) {
  box.classList.add("live");
  const answer = await fetch(box.dataset.grid, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { sessions, portfolios: all } = await answer.json();
  if (!sessions.length) return;
  // Few portfolios have a row a phase; many have one each, with the worst of their phases.
  const phases = ["ingest", "factors", "snapshots", "risk"];
  const split = all.length * phases.length <= 48 && all.some(({ runs }) => runs.some(([phase]) => phase !== runs[0][0]));
  const portfolios = split
    ? all.flatMap(({ id, name, runs }) => phases.map((phase) => ({ id, name: `${name}, ${box.dataset[phase]}`, runs: runs.filter(([of]) => of === phase) })))
    : all;
  const order = ["complete", "partial", "waiting", "running", "retrying", "blocked"];
  const tones = { complete: "--calm", partial: "--remark", waiting: "--wait", running: "--wait", retrying: "--wait", blocked: "--stop" };
  const paint = order.map((state) => {
    const [r, g, b] = colour(tones[state]).match(/[\d.]+/g).map(Number);
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
  const columns = sessions.length, rows = portfolios.length;
  const worst = new Uint8Array(columns * rows).fill(255);
  portfolios.forEach((portfolio, y) => {
    for (const [, state, first, last] of portfolio.runs) {
      const rank = order.indexOf(state);
      for (let x = first, at = y * columns + first; x <= last; x += 1, at += 1) if (worst[at] === 255 || worst[at] < rank) worst[at] = rank;
    }
  });
  const canvas = box.querySelector("canvas"), readout = box.querySelector(".readout"), form = box.querySelector(".selection");
  const image = new ImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
  const bitmap = document.createElement("canvas");
  bitmap.width = columns;
  bitmap.height = rows;
  for (let at = 0; at < worst.length; at += 1) pixels[at] = worst[at] === 255 ? 0 : paint[worst[at]];
  bitmap.getContext("2d").putImageData(image, 0, 0);
  canvas.hidden = false;
  const height = Math.max(48, Math.min(560, rows * Math.max(1, Math.min(22, Math.floor(560 / rows)))));
  if (rows <= 48) {
    const list = box.querySelector("ol");
    list.replaceChildren(...portfolios.map(({ name }) => Object.assign(document.createElement("li"), { textContent: name })));
    list.style.height = `${height}px`;
    list.style.gridAutoRows = "1fr";
  }
  box.querySelector(".years").append(...[sessions[0], sessions[sessions.length >> 1], sessions[sessions.length - 1]].map((day) => Object.assign(document.createElement("span"), { textContent: day })));
  let from = null, to = null, dragging = false;
  const ctx = canvas.getContext("2d");
  function draw() {
    const width = canvas.clientWidth || box.clientWidth;
    if (!width) return;
    canvas.style.height = `${height}px`;
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    if (!from) return;
    const [x0, x1] = [Math.min(from.x, to.x), Math.max(from.x, to.x) + 1], [y0, y1] = [Math.min(from.y, to.y), Math.max(from.y, to.y) + 1];
    const sx = canvas.width / columns, sy = canvas.height / rows;
    ctx.strokeStyle = colour("--ink");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.strokeRect(x0 * sx, y0 * sy, Math.max(3, (x1 - x0) * sx), Math.max(3, (y1 - y0) * sy));
  }
  const cell = (event) => {
    const area = canvas.getBoundingClientRect();
    const bound = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value * count)));
    return { x: bound((event.clientX - area.left) / area.width, columns), y: bound((event.clientY - area.top) / area.height, rows) };
  };
  function read(at) {
    const rank = worst[at.y * columns + at.x];
    readout.textContent = `${portfolios[at.y].name} · ${sessions[at.x]} · ${rank === 255 ? "–" : order[rank]}`;
  }
  function select() {
    const [x0, x1] = [Math.min(from.x, to.x), Math.max(from.x, to.x)], [y0, y1] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
    let units = 0;
    for (let y = y0; y <= y1; y += 1)
      for (const [, , first, last] of portfolios[y].runs) units += Math.max(0, Math.min(last, x1) - Math.max(first, x0) + 1);
    form.hidden = false;
    const chosen = [...new Set(portfolios.slice(y0, y1 + 1).map(({ id }) => id))];
    form.querySelector("output").textContent = `${units} units, ${sessions[x0]} – ${sessions[x1]}:`;
    // Of rows of one phase the work of that phase is asked for; across phases all of it.
    if (split) form.elements.phase.value = y0 === y1 ? phases[y0 % phases.length] : "";
    form.elements.first.value = sessions[x0];
    form.elements.last.value = sessions[x1];
    form.querySelector(".chosen").replaceChildren(...chosen.map((id) => {
      const input = document.createElement("input");
      input.type = "hidden";
      input.name = "portfolio";
      input.value = id;
      return input;
    }));
    draw();
  }
  canvas.addEventListener("pointerdown", (event) => {
    from = to = cell(event);
    dragging = true;
    canvas.setPointerCapture(event.pointerId);
    select();
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = cell(event);
    read(at);
    if (!dragging) return;
    to = at;
    select();
  });
  canvas.addEventListener("pointerup", () => { dragging = false; });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const at = to ?? { x: columns - 1, y: 0 };
    to = { x: Math.max(0, Math.min(columns - 1, at.x + move[0])), y: Math.max(0, Math.min(rows - 1, at.y + move[1])) };
    if (!event.shiftKey || !from) from = to;
    read(to);
    select();
  });
  new ResizeObserver(draw).observe(box);
  draw();
}

// --- files: dropped where they are chosen
for (const box of document.querySelectorAll("[data-drop]")) {
  const input = box.querySelector("input[type=file]"), form = input.form;
  for (const type of ["dragenter", "dragover"]) box.addEventListener(type, (event) => { event.preventDefault(); box.classList.add("over"); });
  for (const type of ["dragleave", "drop"]) box.addEventListener(type, () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    form.requestSubmit();
  });
}

// --- a list of names that is filtered while one types
for (const input of document.querySelectorAll("[data-filter]")) {
  const items = [...document.getElementById(input.dataset.filter).children];
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  });
  input.form.addEventListener("submit", (event) => event.preventDefault());
}

// --- copying, as long as the browser lets us
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "✓";
  });
}

// --- sessions: choosing a day goes there
for (const input of document.querySelectorAll(".session input")) {
  input.form.querySelector("button").hidden = true;
  input.addEventListener("change", () => { if (input.value && input.validity.valid) input.form.requestSubmit(); });
}

// --- going places
const palette = document.getElementById("palette"), opener = document.querySelector(".palette-open");
if (palette && opener) {
  const input = palette.querySelector("input"), list = palette.querySelector("ul");
  let places = null, chosen = 0;
  opener.hidden = false;
  const shown = () => [...list.querySelectorAll("a")];
  function mark(index) {
    const links = shown();
    chosen = Math.max(0, Math.min(links.length - 1, index));
    links.forEach((link, at) => link.setAttribute("aria-selected", at === chosen));
    links[chosen]?.scrollIntoView({ block: "nearest" });
  }
  function fill() {
    const wanted = input.value.trim().toLowerCase();
    const fitting = (places ?? []).filter(({ name }) => name.toLowerCase().includes(wanted)).slice(0, 12);
    list.replaceChildren(...fitting.map(({ name, kind, href }) => {
      const item = document.createElement("li"), link = document.createElement("a"), small = document.createElement("small");
      link.href = href;
      link.textContent = name;
      small.textContent = kind;
      link.append(small);
      item.append(link);
      return item;
    }));
    mark(0);
  }
  async function open() {
    palette.showModal();
    input.select();
    if (!places) {
      const answer = await fetch("/places", { headers: { Accept: "application/json" } });
      places = answer.ok ? await answer.json() : [];
    }
    fill();
  }
  opener.addEventListener("click", open);
  input.addEventListener("input", fill);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      mark(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      shown()[chosen]?.click();
    }
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (!palette.open) open();
    }
  });
}

// --- single keys: rows of a list, sessions before and after, copying
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog, canvas")) return;
  if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll("table .row, main tbody th a")];
    if (!links.length) return;
    const at = links.indexOf(document.activeElement);
    links[Math.max(0, Math.min(links.length - 1, at + (event.key === "j" ? 1 : -1)))].focus();
    return;
  }
  const keyed = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (keyed && !keyed.hidden) keyed.click();
});

window.addEventListener("load", () => begin(document));
document.addEventListener("htmx:after:swap", () => begin(document));
