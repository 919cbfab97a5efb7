// What a page does after it has loaded: theme, live figures, charts, the player. No framework, no inline code.

import { follow } from "./wave.js";

// ------------------------------------------------------------------ theme

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
}

document.getElementById("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", theme);
  document.documentElement.dataset.theme = theme;
  drawCharts();
});
dark.addEventListener("change", () => drawCharts());

// ------------------------------------------------------------------ what is said

function say(text, look) {
  const line = document.createElement("p");
  line.className = `banner ${look}`;
  line.textContent = text;
  document.getElementById("said").replaceChildren(line);
}

document.body.addEventListener("htmx:responseError", (event) => {
  const answer = event.detail.xhr;
  const plain = (answer.getResponseHeader("content-type") || "").startsWith("text/plain");
  say(plain ? answer.responseText.trim() : `That did not work (${answer.status}). Load the page again.`, "bad");
});
document.body.addEventListener("htmx:sendError", () => say("The board does not answer.", "bad"));

// Whoever pressed Enter in a filter keeps the place in the field; a change of page starts at its top.
document.body.addEventListener("htmx:afterSettle", () => { bindClip(); drawCharts(); });

// ------------------------------------------------------------------ charts

const charts = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function brief(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)} bn`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return `${+value.toPrecision(3)}`;
}

function options(box) {
  const line = colour("--line"), soft = colour("--soft");
  const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const money = box.dataset.unit === "usd";
  const limit = Number(box.dataset.limit) || 0;
  const series = [{}, { stroke: colour("--c1"), width: 1.75, fill: colour("--accent-wash"), points: { show: false } }];
  if (limit) series.push({ stroke: colour("--c2"), width: 1.25, dash: [5, 4], points: { show: false } });
  return {
    width: box.clientWidth, height: box.clientHeight, padding: [10, 18, 0, 0],
    cursor: { y: false, points: { size: 6 } }, legend: { show: false },
    scales: {
      x: { time: true },
      y: { range: (_, _low, high) => [0, Math.max(limit && high > limit * 0.4 ? limit * 1.1 : high * 1.15, money ? 0.001 : 5)] },
    },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    axes: [
      { ...axis, size: 30, space: 60, incrs: [60, 120, 300, 600, 900, 1800, 3600], values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(11, 16)) },
      { ...axis, size: 58, values: (_, ticks) => ticks.map((value) => (money ? `$${brief(value)}` : brief(value))) },
    ],
    series,
  };
}

function columnsOf(box, data) {
  const values = data[box.dataset.chart];
  const limit = Number(box.dataset.limit) || 0;
  return limit ? [data.at, values, data.at.map(() => limit)] : [data.at, values];
}

let columns = null;

function drawCharts() {
  while (charts.length) charts.pop().plot.destroy();
  if (!columns || !window.uPlot) return;
  for (const box of document.querySelectorAll("[data-chart]")) {
    charts.push({ box, plot: new uPlot(options(box), columnsOf(box, columns), box) });
  }
}

function updateCharts(data) {
  const first = columns === null || !charts.length;
  columns = data;
  if (first) return drawCharts();
  for (const { box, plot } of charts) plot.setData(columnsOf(box, data));
}

let resizing = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    for (const { box, plot } of charts) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
  });
});

// ------------------------------------------------------------------ live figures

const beat = document.getElementById("beat");
let source = null;

function beats(state, text) {
  beat.dataset.state = state;
  beat.lastElementChild.textContent = text;
}

// Only what differs is touched: a button that is being pressed, or has the keyboard, stays the same button.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return put(fresh, (node) => old.replaceWith(node));
  if (old.nodeType === Node.TEXT_NODE) { old.data = fresh.data; return; }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const had = [...old.childNodes], has = [...fresh.childNodes];
  has.forEach((node, place) => (place < had.length ? morph(had[place], node) : put(node, (added) => old.append(added))));
  had.slice(has.length).forEach((node) => node.remove());
}

function put(node, place) {
  place(node);
  if (node.nodeType === Node.ELEMENT_NODE) htmx.process(node);
}

function renew(box, html) {
  if (!box) return;
  const fresh = box.cloneNode(false);
  fresh.innerHTML = html;
  morph(box, fresh);
}

function listen() {
  source = new EventSource("/fleet/live");
  source.addEventListener("fleet", (event) => {
    const news = JSON.parse(event.data);
    beats("live", "live");
    renew(document.getElementById("live-top"), news.top);
    renew(document.getElementById("live-rest"), news.rest);
    updateCharts(news.series);
  });
  source.addEventListener("away", () => beats("lost", "the database is away"));
  source.onerror = () => beats("lost", "connecting again");
}

if (document.getElementById("live-top")) {
  listen();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source.close(); beats("wait", "paused"); } else { source.close(); listen(); }
  });
}

// ------------------------------------------------------------------ one clip

function bindClip() {
  const wave = document.getElementById("wave"), player = document.getElementById("player");
  if (!wave || !player || wave.dataset.bound) return;
  follow(player, wave, document.getElementById("head"));
}

bindClip();
