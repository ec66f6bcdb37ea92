"use strict";
/* Shows the JSON of ./status, and again at every event of ./events. */

const STATE_CLASS = { fine: "fine", watch: "watch", act: "act" };
const SCOPES = { block: "Last complete block", open: "Open block so far", sliding: "Last hour" };
const STAGES = {
  clicks: "Clicks", sessions: "Sessions", block_end: "Blocks ended", trained: "Trained", served: "Served",
};
const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);

let chosenScope = "block";
let plots = [];
let last = null;

function element(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.textContent = text;
  return made;
}

function replace(parent, ...children) { parent.replaceChildren(...children); }

function time(ms) {
  return ms === null || ms === undefined ? "" : new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  for (const [unit, size] of units) if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  return `${number.format(seconds)} s`;
}

const percent = (share) => (share === null || share === undefined ? "–" : `${number.format(100 * share)} %`);
const bounds = (e) => (e ? `${(100 * e.estimate).toFixed(1)} (${(100 * e.lower).toFixed(1)} – ${(100 * e.upper).toFixed(1)})` : "–");

function stateWord(state) { return element("span", state, { className: STATE_CLASS[state] || "unknown" }); }

function showState(status) {
  const worst = Object.values(status.drift).some((scope) => scope.drift.state === "act") ? "act"
    : Object.values(status.drift).some((scope) => scope.drift.state === "watch") ? "watch" : null;
  const said = [element("span", status.reason ? `${status.state}: ${status.reason}` : status.state)];
  if (worst) said.push(element("span", ", drift: "), stateWord(worst));
  replace(byId("state"), ...said);
  byId("changed").textContent = `changed ${new Date(status.changed_at * 1000).toISOString().slice(11, 19)} UTC`;
}

function stageDetails(status) {
  const blocks = status.blocks, open = blocks.find((block) => !block.is_complete);
  const complete = blocks.filter((block) => block.is_complete).at(-1), versions = status.versions;
  const workers = versions.workers.filter((worker) => worker.version !== null);
  return {
    clicks: [whole.format(blocks.reduce((sum, block) => sum + block.clicks, 0)), "in the kept blocks"],
    sessions: open ? [whole.format(open.sessions), `in block ${open.block}, which is open`] : ["–", "no open block"],
    block_end: complete ? [`block ${complete.block}`, `${whole.format(complete.clicks)} clicks`] : ["–", "none has ended"],
    trained: versions.newest === null ? ["–", "no version yet"]
      : [`version ${versions.newest}`, `to block ${versions.trained_to}`],
    served: versions.served === null ? ["–", "nothing to serve yet"]
      : [`version ${versions.served}`, `by ${workers.length} of ${versions.workers.length} workers`],
  };
}

function showPipeline(status) {
  const details = stageDetails(status);
  replace(byId("pipeline"), ...Object.entries(STAGES).map(([stage, name]) => {
    const lag = status.lags[stage], [main, about] = details[stage], box = document.createElement("li");
    box.append(element("span", name, { className: "name" }), element("strong", main), element("span", about));
    if (lag) box.append(element("span", lag.lag_seconds > 0 ? `${duration(lag.lag_seconds)} behind the newest click`
      : `at ${time(lag.reached)}`));
    return box;
  }));
}

function row(cells) {
  const made = document.createElement("tr");
  cells.forEach((cell, place) => made.append(typeof cell === "object" && cell !== null ? cell
    : element(place ? "td" : "th", String(cell), place ? {} : { scope: "row" })));
  return made;
}

function showQuality(status) {
  const versions = status.versions;
  replace(document.querySelector("#versions tbody"), ...versions.quality.map((found) => row(
    [found.role, found.version, whole.format(found.targets), bounds(found.recall20), bounds(found.mrr20)])));
  replace(byId("pairs"), ...versions.pairs.map((pair) => element("li",
    `Version ${pair.newer} minus version ${pair.older} on the same ${whole.format(pair.clicks)} clicks: ` +
    `Recall@20 ${bounds(pair.recall20)}, MRR@20 ${bounds(pair.mrr20)}`)));
  replace(byId("workers"), ...versions.workers.map((worker) => element("li",
    `${worker.worker} serves ${worker.version === null ? "nothing yet" : `version ${worker.version}`}, ` +
    `partitions ${worker.partitions.join(", ")}`)));
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function drawPlot(parent, xs, ys, options = {}) {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const plot = new uPlot({
    width: Math.max(120, parent.clientWidth), height: options.height || 84,
    legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0],
    scales: { x: { time: false } },
    axes: [{ ...axis, size: 24, values: (_, ticks) => ticks.map((t) => (Number.isInteger(t) ? t : "")) },
      { ...axis, size: 52, values: (_, ticks) => ticks.map((t) => number.format(t)) }],
    hooks: options.hooks || {},
    series: [{}, { width: 2, points: { size: 5 }, stroke: colour("--accent") }],
  }, [xs, ys], parent);
  plots.push([plot, parent, options.height || 84]);
}

function band(range) {
  return (plot) => {
    if (!range) return;
    const { ctx, bbox } = plot;
    const y = (value, otherwise) => (value === null ? otherwise
      : Math.min(bbox.top + bbox.height, Math.max(bbox.top, plot.valToPos(value, "y", true))));
    const top = y(range.high, bbox.top), bottom = y(range.low, bbox.top + bbox.height);
    ctx.save();
    ctx.fillStyle = colour("--band");
    ctx.fillRect(bbox.left, top, bbox.width, bottom - top);
    ctx.restore();
  };
}

function showRecall(status) {
  const parent = byId("recall"), found = status.versions.by_block;
  replace(parent);
  if (!found.length) return;
  const blocks = [...new Set(found.map((one) => one.block))].sort((a, b) => a - b);
  const versions = [...new Set(found.map((one) => one.version))].sort((a, b) => a - b);
  const values = blocks.map((block) => found.find((one) => one.block === block).recall20 * 100);
  const changes = blocks.filter((block, place) => place &&
    found.find((one) => one.block === block).version !== found.find((one) => one.block === blocks[place - 1]).version);
  const mark = (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour("--soft");
    ctx.setLineDash([4, 4]);
    for (const block of changes) {
      const x = plot.valToPos(block - 0.5, "x", true);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  };
  parent.setAttribute("aria-label", "Recall@20 by block, percent: " + blocks.map((block, place) =>
    `block ${block} ${values[place].toFixed(1)}`).join(", ") + `; versions ${versions.join(", ")}`);
  drawPlot(parent, blocks, values, { height: 180, hooks: { draw: [mark] } });
  parent.append(element("p", "Recall@20 in percent, by block; a dashed line: another version from there on."));
}

function signalCard(signal, history) {
  const card = document.createElement("article"), title = element("h3", signal.name.replaceAll("_", " "));
  title.append(stateWord(signal.state));
  card.append(title, element("p", signal.value === null ? "–" : number.format(signal.value), { className: "value" }));
  const plot = element("div", "", { className: "plot" });
  plot.setAttribute("role", "img");
  const values = [...(history?.values || []), signal.value], xs = [...(history?.blocks || []), history?.block ?? 0];
  plot.setAttribute("aria-label", `${signal.name} by block: ${values.map((v) => (v === null ? "none" : number.format(v))).join(", ")}`);
  if (values.filter((value) => value !== null).length > 1) card.append(plot);
  card.append(element("p", (signal.cause ? `${signal.cause}: ` : "") + signal.reason));
  return [card, () => plot.isConnected && drawPlot(plot, xs, values,
    { hooks: { drawClear: [band(signal.watch)] } })];
}

function showScopes(status) {
  const names = Object.keys(SCOPES).filter((scope) => status.drift[scope]);
  if (!names.includes(chosenScope)) chosenScope = names[0];
  const buttons = byId("scopes");
  if (buttons.children.length !== names.length) {
    replace(buttons, ...names.map((scope) => {
      const button = element("button", SCOPES[scope], { type: "button" });
      button.dataset.scope = scope;
      button.addEventListener("click", () => { chosenScope = scope; showDrift(last); });
      return button;
    }));
  }
  for (const button of buttons.children) button.setAttribute("aria-pressed", String(button.dataset.scope === chosenScope));
}

function showDrift(status) {
  showScopes(status);
  const scope = status.drift[chosenScope];
  plots = plots.filter(([, parent]) => parent.id === "recall");
  if (!scope) {
    byId("scope-about").textContent = "Nothing to compare yet: " + (status.reason || "no block has ended");
    replace(byId("signals"));
    return;
  }
  byId("scope-about").textContent = (scope.block === null ? "" : `Block ${scope.block}, `) +
    `clicks from ${time(scope.first_time)} to ${time(scope.last_time)}, ` +
    (scope.against.length ? `compared with blocks ${scope.against[0]} to ${scope.against.at(-1)}.` : "with nothing to compare with yet.");
  const cards = scope.drift.signals.map((signal) => {
    const values = scope.earlier[signal.name];
    return signalCard(signal, values && values.length && { values: values.map(([, v]) => v), blocks: values.map(([b]) => b), block: scope.block });
  });
  replace(byId("signals"), ...cards.map(([card]) => card));
  cards.forEach(([, draw]) => draw());
}

function showBlocks(status) {
  replace(document.querySelector("#blocks tbody"), ...[...status.blocks].reverse().map((block) => row([
    block.block, time(block.start), whole.format(block.clicks), whole.format(block.sessions), whole.format(block.items),
    percent(block.clicks ? block.repeat_clicks / block.clicks : null), whole.format(block.late),
    block.is_complete ? "complete" : "open"])));
  const refused = Object.entries(status.refusals.refused);
  byId("refusals").textContent = refused.length
    ? "Refused in the last day: " + refused.map(([reason, count]) =>
      `${whole.format(count)} ${reason} (${percent(status.refusals.ratios[reason])})`).join(", ")
    : "No click was refused in the last day.";
}

function show(status) {
  last = status;
  plots = [];
  for (const part of [showState, showPipeline, showQuality, showRecall, showDrift, showBlocks]) part(status);
}

/* An item, its score, and the clicks that have led to it. */
function recommended(one) {
  const made = element("li", `${one.item} (${number.format(one.score)})`);
  const because = (one.reasons || []).filter((click) => click.weight >= 0.005)
    .map((click) => `${click.item} ${Math.round(100 * click.weight)} %`);
  if (because.length) made.append(element("span", `because of ${because.join(", ")}`, { className: "because" }));
  return made;
}

function alertItem(alert) {
  const made = document.createElement("li"), about = Object.entries(alert.labels).map(([name, value]) => `${name} ${value}`);
  made.append(element("span", alert.state, { className: { firing: "act", pending: "watch" }[alert.state] || "unknown" }),
    element("strong", alert.name), element("span", [alert.severity, ...about].filter(Boolean).join(", ")),
    element("span", `${alert.state === "resolved" ? "fired last at" : "since"} ${time(1000 * alert.since)}`));
  if (alert.summary) made.append(element("span", alert.summary));
  if (/^https?:/.test(alert.runbook)) made.append(element("a", `runbook: ${alert.name}`, { href: alert.runbook, rel: "noopener" }));
  return made;
}

async function showAlerts() {
  try {
    const response = await fetch("alerts"), found = await response.json();
    if (!response.ok) throw new Error(found.error || response.statusText);
    const alerts = found.alerts || [];
    byId("alerts-about").textContent = found.reason || (alerts.length ? "" : "None has fired.");
    replace(byId("alerts"), ...alerts.map(alertItem));
  } catch (error) {
    byId("alerts-about").textContent = String(error.message);
    replace(byId("alerts"));
  }
}

async function ask(event) {
  event.preventDefault();
  const items = byId("items").value.split(",").map((item) => item.trim()).filter(Boolean);
  const answer = byId("answer");
  answer.textContent = "asking";
  try {
    const response = await fetch("recommend", { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ items, k: 10, reasons: true }) });
    const found = await response.json();
    if (!response.ok) throw new Error(found.error || response.statusText);
    const list = document.createElement("ol");
    list.append(...found.items.map(recommended));
    replace(answer, element("p", `Version ${found.version}` +
      (found.fallback ? ": it knows none of these items, so these are the most frequent ones" : "")), list);
  } catch (error) {
    replace(answer, element("p", String(error.message)));
  }
}

function follow() {
  const events = new EventSource("events");
  events.onmessage = (event) => show(JSON.parse(event.data));
  events.onerror = () => { byId("changed").textContent = "no connection to the monitor; trying again"; };
}

addEventListener("resize", () => plots.forEach(([plot, parent, height]) => parent.isConnected &&
  plot.setSize({ width: Math.max(120, parent.clientWidth), height })));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => last && show(last));
byId("try").addEventListener("submit", ask);
showAlerts();
setInterval(showAlerts, 15000);
fetch("status").then((response) => response.json()).then(show).finally(follow);
