// The page Clips: one clip after the other by keyboard; what is typed is kept until the board says that it is saved.

import { align, words } from "./difference.js";
import { follow } from "./wave.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5];
const CHECK_MS = 250, RETRY_MS = [500, 1500, 4000, 8000];
const KEPT = 8; // panels that are held, those of the next clips among them

const held = new Map(); // clip -> its panel and its audio, on their way or there
const states = new Map(); // clip -> what its row says
const narrow = window.matchMedia("(max-width: 46rem)");
let drafts = stored("lipika-drafts", {}); // clip -> what was typed and is not saved, and upon which version
let outbox = stored("lipika-outbox", []); // edits on their way: sent again until the board has answered
let at = -1; // the row that is looked at
let shown = null; // its clip
let checking = 0, checked = 0;

function stored(name, otherwise) {
  try { return JSON.parse(sessionStorage.getItem(name)) || otherwise; } catch { return otherwise; }
}

function store() {
  try {
    sessionStorage.setItem("lipika-drafts", JSON.stringify(drafts));
    sessionStorage.setItem("lipika-outbox", JSON.stringify(outbox));
  } catch { /* full or forbidden: what is typed is in the page all the same */ }
}

const csrf = () => JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRF-Token"];
const rows = () => [...document.querySelectorAll("#clips .clip")];
const keyOf = (row) => `${row.dataset.video}\n${row.dataset.clip}`;
const queryOf = (key) => { const [video, clip] = key.split("\n"); return new URLSearchParams({ video, clip }); };
const panel = () => document.getElementById("panel");
const player = () => document.getElementById("player");
const editor = () => document.getElementById("edit-text");

function say(text, look) {
  const line = document.createElement("p");
  line.className = `banner ${look}`;
  line.textContent = text;
  document.getElementById("said").replaceChildren(line);
}

// ------------------------------------------------------------------ looking

async function ask(path) {
  const reply = await fetch(path, { headers: { accept: "text/html", "hx-request": "true" } });
  const away = reply.headers.get("hx-redirect");
  if (away) { location.assign(away); throw new Error("signed out"); }
  if (!reply.ok) throw new Error((await reply.text()).trim().slice(0, 200) || `${reply.status}`);
  return reply.text();
}

function fetched(key) {
  if (!held.has(key)) {
    const one = { panel: ask(`/clips/clip?${queryOf(key)}`), wave: ask(`/review/wave?${queryOf(key)}`) };
    // The audio itself lies in the browser's cache when its turn comes.
    one.audio = one.wave.then((html) => {
      const source = new DOMParser().parseFromString(html, "text/html").querySelector("audio")?.getAttribute("src");
      return source ? fetch(source).then((reply) => reply.blob()) : null;
    });
    for (const part of Object.values(one)) part.catch(() => held.delete(key));
    held.set(key, one);
    for (const old of held.keys()) {
      if (held.size <= KEPT) break;
      if (old !== key && old !== shown) held.delete(old);
    }
  }
  return held.get(key);
}

async function select(place, options = {}) {
  const all = rows();
  if (place < 0 || place >= all.length) {
    if (place >= all.length) await onwards();
    return;
  }
  const row = all[place], key = keyOf(row);
  at = place;
  shown = key;
  for (const other of all) other.toggleAttribute("aria-current", false);
  row.setAttribute("aria-current", "true");
  // On a phone the clip stands above the list.
  if (!narrow.matches) row.scrollIntoView({ block: "nearest" });
  else if (options.play) panel().scrollIntoView({ block: "start" });
  const one = fetched(key);
  panel().setAttribute("aria-busy", "true");
  try {
    const html = await one.panel;
    if (shown !== key) return; // somebody has gone on meanwhile
    panel().innerHTML = html;
    open(key, options);
    const wave = await one.wave;
    if (shown !== key) return;
    const box = document.getElementById("clip-audio");
    if (box) { box.innerHTML = wave; bindPlayer(options.play); }
  } catch (error) {
    if (shown === key) { panel().innerHTML = ""; panel().append(line("p", `This clip cannot be shown: ${error.message}`, "soft lead")); }
  } finally {
    if (shown === key) panel().removeAttribute("aria-busy");
  }
  for (const next of all.slice(place + 1, place + 3)) fetched(keyOf(next));
}

function line(tag, text, look = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (look) made.className = look;
  return made;
}

// The next page's rows come below those that are there.
async function onwards() {
  const next = document.getElementById("next");
  if (!next || next.dataset.asked) return;
  next.dataset.asked = "yes";
  try {
    const page = new DOMParser().parseFromString(await ask(next.getAttribute("href")), "text/html");
    const before = rows().length;
    const fresh = [...page.querySelectorAll("#clips > li")];
    document.getElementById("clips").append(...fresh.map((row) => document.importNode(row, true)));
    const after = page.getElementById("next");
    if (after) { next.setAttribute("href", after.getAttribute("href")); delete next.dataset.asked; } else next.remove();
    paint();
    if (fresh.length) await select(before);
  } catch (error) {
    delete next.dataset.asked;
    say(`The next page did not come: ${error.message}`, "bad");
  }
}

// ------------------------------------------------------------------ listening

function bindPlayer(play) {
  const sound = player(), wave = document.getElementById("wave"), head = document.getElementById("head");
  if (!sound) return;
  sound.loop = localStorage.getItem("loop") === "yes";
  sound.defaultPlaybackRate = sound.playbackRate = Number(localStorage.getItem("speed")) || 1;
  follow(sound, wave, head);
  showSpeed();
  if (play) sound.play().catch(() => {});
}

function showSpeed() {
  const speed = Number(localStorage.getItem("speed")) || 1;
  for (const button of document.querySelectorAll("[data-speed]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.speed) === speed));
  }
  document.getElementById("loop")?.setAttribute("aria-pressed", String(localStorage.getItem("loop") === "yes"));
}

function toggle() {
  const sound = player();
  if (!sound) return;
  if (sound.paused) sound.play().catch(() => say("This clip cannot be played.", "bad")); else sound.pause();
}

function setSpeed(speed) {
  localStorage.setItem("speed", String(speed));
  if (player()) player().playbackRate = speed;
  showSpeed();
}

function setLoop() {
  localStorage.setItem("loop", localStorage.getItem("loop") === "yes" ? "no" : "yes");
  if (player()) player().loop = localStorage.getItem("loop") === "yes";
  showSpeed();
}

function seek(by) {
  if (player()) player().currentTime = Math.max(0, player().currentTime + by);
}

// ------------------------------------------------------------------ correcting

const facts = () => document.getElementById("clip-facts")?.dataset;

function open(key, options) {
  showSpeed();
  const box = editor();
  if (!box) return;
  const draft = drafts[key];
  if (draft && draft.text !== box.value) {
    const now = { said: "it was changed since you typed this", theirs: box.value, version: facts().version };
    box.value = draft.text;
    if (draft.version !== facts().version && !states.get(key)?.version) states.set(key, { ...now, text: "draft", look: "warn" });
    facts().version = draft.version;
    note("A draft, not saved yet.", "warn");
  }
  fit(box);
  compare();
  if (box.value !== facts().text) check();
  const waiting = states.get(key);
  if (waiting?.theirs !== undefined) conflict(waiting);
  if (options.edit) box.focus();
}

function fit(box) {
  box.style.height = "auto"; // through the object model: no inline style in the page
  box.style.height = `${box.scrollHeight + 2}px`;
}

function note(text, look = "soft") {
  const box = document.getElementById("edit-note");
  if (box) { box.textContent = text; box.className = `small ${look}`; }
}

function typed() {
  const box = editor();
  if (!box || !shown) return;
  if (box.value === facts().text) delete drafts[shown]; else drafts[shown] = { text: box.value, version: facts().version };
  store();
  if (states.get(shown)?.look === "good") states.delete(shown);
  paint();
  fit(box);
  compare();
  note(box.value === facts().text ? "" : "Not saved: Ctrl Enter saves.", "warn");
  clearTimeout(checking);
  checking = setTimeout(check, CHECK_MS);
}

async function check() {
  const box = editor(), list = document.getElementById("remarks"), turn = ++checked, key = shown;
  if (!box || !list) return;
  try {
    const reply = await post("/clips/check", { text: box.value, language: facts().language });
    if (!reply.ok || turn !== checked || key !== shown) return;
    const places = document.getElementById("remarks");
    places.replaceChildren(...(await reply.json()).map((found) => {
      const row = document.createElement("li");
      row.append(line("span", found.title, `pill ${found.look}`), ` ${found.message}`);
      if (found.end > found.start) {
        const show = line("button", "show", "button quiet");
        show.type = "button";
        show.addEventListener("click", () => point(box.value, found));
        row.append(" ", show);
      }
      return row;
    }));
  } catch { /* the next key asks again */ }
}

// Places are told in characters; the browser counts in halves of some.
function point(text, found) {
  const characters = [...text];
  const start = characters.slice(0, found.start).join("").length;
  editor().focus();
  editor().setSelectionRange(start, start + characters.slice(found.start, found.end).join("").length);
}

function compare() {
  const box = document.getElementById("difference");
  if (!box || !facts()) return;
  const before = words(facts().model), after = words(editor().value);
  box.parentNode.hidden = !before.length || before.join(" ") === after.join(" ");
  if (!box.parentNode.hidden) box.replaceChildren(...difference(before, after));
}

const KINDS = { before: "del", after: "ins" };

// What only one of them has is marked.
function difference(before, after) {
  return align(before, after).flatMap(([kind, word]) => (kind === "both" ? [`${word} `] : [line(KINDS[kind], word), " "]));
}

function post(path, fields) {
  return fetch(path, {
    method: "POST",
    headers: { "X-CSRF-Token": csrf(), "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams(fields),
    keepalive: true,
  });
}

function speak(kind, more = {}) {
  const now = facts();
  if (!shown || !now || now.mayReview !== "yes") return;
  const edit = { key: shown, do: kind, expected: now.version, request: crypto.randomUUID(), ...more };
  outbox = outbox.filter((other) => other.key !== edit.key || other.sent);
  outbox.push(edit);
  store();
  mark(edit.key, "saving …", "info");
  send(edit);
}

async function send(edit, tries = 0) {
  edit.sent = true;
  let reply = null;
  try {
    const { key, sent: _, ...fields } = edit;
    const [video, clip] = key.split("\n");
    reply = await post("/clips/edit", { ...fields, video, clip });
  } catch { reply = null; }
  if (!reply || reply.status >= 500) {
    if (tries >= RETRY_MS.length) return lost(edit, "The board does not answer. What you typed is kept here.");
    mark(edit.key, "not saved yet, trying again …", "warn");
    return setTimeout(() => send(edit, tries + 1), RETRY_MS[tries]);
  }
  if (!reply.ok) return lost(edit, (await reply.text()).trim().slice(0, 300));
  const news = await reply.json();
  outbox = outbox.filter((other) => other.request !== edit.request);
  held.delete(edit.key);
  if (news.state === "saved") {
    if (drafts[edit.key]?.text === edit.text) delete drafts[edit.key];
    store();
    mark(edit.key, news.said, "good");
    rewrite(edit.key, news);
  } else {
    if (edit.text !== undefined) drafts[edit.key] = { text: edit.text, version: edit.expected };
    store();
    mark(edit.key, `not saved: ${news.said}`, "bad", { theirs: news.text, said: news.said, version: news.version });
    if (shown === edit.key) conflict(states.get(edit.key));
    say(`A clip was not saved: ${news.said}. What you typed is kept with it.`, "bad");
  }
}

function lost(edit, why) {
  outbox = outbox.filter((other) => other.request !== edit.request);
  if (edit.text !== undefined) drafts[edit.key] = { text: edit.text, version: edit.expected };
  store();
  mark(edit.key, "not saved", "bad");
  say(`Not saved: ${why}`, "bad");
  if (shown === edit.key) note("Not saved.", "bad");
}

// What stands now, where the clip is still looked at and nothing newer was typed.
function rewrite(key, news) {
  const row = rows().find((one) => keyOf(one) === key);
  if (row && news.text !== null) row.querySelector(".line").textContent = news.text || "–";
  if (shown !== key || !facts()) return;
  const untouched = editor().value === facts().text || editor().value === news.text || drafts[key] === undefined;
  Object.assign(facts(), { version: news.version, text: news.text ?? facts().text });
  if (untouched && news.text !== null) { editor().value = news.text; fit(editor()); compare(); }
  note(news.said, "good");
}

function conflict(waiting) {
  const box = document.getElementById("conflict");
  if (!box || !editor()) return;
  const over = line("button", "Save mine over it", "button"), theirs = line("button", "Take theirs", "button");
  over.type = theirs.type = "button";
  over.addEventListener("click", () => {
    facts().version = waiting.version;
    states.delete(shown);
    box.hidden = true;
    speak("text", { text: editor().value });
    editor().focus();
  });
  theirs.addEventListener("click", () => {
    delete drafts[shown];
    states.delete(shown);
    store();
    paint();
    held.delete(shown);
    select(at);
  });
  const text = line("p", waiting.theirs ?? "", "spoken");
  text.dir = "auto";
  box.replaceChildren(line("p", `Not saved: ${waiting.said}. It says now:`, "bad"), text, over, " ", theirs);
  box.hidden = false;
}

function mark(key, text, look, more = {}) {
  states.set(key, { text, look, ...more });
  paint();
}

function paint() {
  for (const row of rows()) {
    const state = states.get(keyOf(row)), box = row.querySelector(".state");
    const text = state?.text ?? (drafts[keyOf(row)] !== undefined ? "draft" : "");
    if (box && box.textContent !== text) { box.textContent = text; box.className = `state ${state?.look ?? "warn"}`; }
  }
}

const verbs = {
  save: () => {
    const text = editor()?.value;
    if (text === undefined) return;
    if (text === facts().text) speak("accept"); else speak("text", { text });
    select(at + 1, { edit: true, play: true });
  },
  accept: () => {
    if (!facts()) return;
    if (editor() && editor().value !== facts().text) return note("The text was changed: Ctrl Enter saves it.", "bad");
    speak("accept");
    select(at + 1, { play: true });
  },
  undo: () => speak("undo"),
  redo: () => speak("redo"),
  edit: () => editor()?.focus(),
  unusable: () => document.getElementById("unusable")?.showModal(),
  ask: () => document.getElementById("redo")?.showModal(),
  cancel: () => document.querySelector("dialog[open]")?.close(),
  play: toggle,
  loop: setLoop,
  next: () => select(at + 1),
  before: () => select(at - 1),
  resolve: async () => {
    const [video, clip] = shown.split("\n");
    const reply = await post("/review/resolve", { video, clip, back: "/clips" });
    mark(shown, reply.ok ? "flags resolved" : "flags not resolved", reply.ok ? "good" : "bad");
  },
};

// ------------------------------------------------------------------ keys and clicks

const KEYS = {
  " ": "play", ArrowDown: "next", j: "next", ArrowUp: "before", k: "before", l: "loop", e: "edit", a: "accept",
  u: "unusable", z: "undo", f: "resolve", r: "ask",
};
const OPERATORS = new Set(["ask"]);
const REVIEWERS = new Set(["edit", "accept", "unusable", "undo", "redo", "resolve", "save"]);

document.addEventListener("keydown", (event) => {
  if (!document.getElementById("browse") || document.querySelector("dialog[open]")) return;
  const place = event.target;
  if (place === editor()) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); verbs.save(); }
    else if (event.key === " " && event.ctrlKey) { event.preventDefault(); toggle(); }
    else if (event.key === "Escape") { event.preventDefault(); rows()[at]?.focus(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || place.closest("input, select, textarea, summary, audio")) return;
  if (event.key === " " && place.closest("button")) return;
  if (event.key === "?") { event.preventDefault(); document.getElementById("keys").showModal(); return; }
  if (event.key >= "1" && event.key <= "5") { event.preventDefault(); setSpeed(SPEEDS[event.key - 1]); return; }
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") { event.preventDefault(); seek(event.key === "ArrowRight" ? 2 : -2); return; }
  const verb = KEYS[event.key];
  const may = document.getElementById("browse").dataset;
  if (!verb || (REVIEWERS.has(verb) && may.review !== "yes") || (OPERATORS.has(verb) && (may.operate !== "yes" || !shown))) return;
  event.preventDefault();
  verbs[verb]();
});

document.addEventListener("click", (event) => {
  const row = event.target.closest?.("#clips .clip");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    select(rows().indexOf(row), { play: true });
    return;
  }
  const verb = event.target.closest?.("[data-do]")?.dataset.do;
  if (verb) verbs[verb]?.();
  const speed = event.target.closest?.("[data-speed]")?.dataset.speed;
  if (speed) setSpeed(Number(speed));
  if (event.target.closest?.("#show-keys")) document.getElementById("keys").showModal();
});

document.addEventListener("input", (event) => { if (event.target === editor()) typed(); });

async function orderRedo(form) {
  const key = shown, [video, clip] = key.split("\n");
  document.getElementById("redo").close();
  const reply = await post("/redos/order", { video, clip, ...Object.fromEntries(new FormData(form)) }).catch(() => null);
  mark(key, reply?.ok ? "redo ordered" : "redo not ordered", reply?.ok ? "good" : "bad");
}

document.addEventListener("submit", (event) => {
  if (event.target.id === "redo-form") {
    event.preventDefault();
    orderRedo(event.target);
    return;
  }
  if (event.target.id !== "unusable-form") return;
  event.preventDefault();
  const reason = document.getElementById("unusable-reason").value.trim();
  if (!reason) return;
  document.getElementById("unusable").close();
  speak("unusable", { reason });
  select(at + 1, { play: true });
});

window.addEventListener("beforeunload", (event) => {
  if (outbox.length) event.preventDefault();
});

// ------------------------------------------------------------------ the page

function start() {
  if (!document.getElementById("browse")) return;
  at = -1;
  shown = null;
  paint();
  const wanted = location.hash.slice(1);
  const place = Math.max(0, rows().findIndex((row) => `${row.dataset.video}/${row.dataset.clip}` === decodeURIComponent(wanted)));
  select(place);
}

document.body.addEventListener("htmx:afterSettle", (event) => { if (event.detail.target?.id === "content" || event.detail.elt?.id === "content") start(); });
for (const edit of outbox) { mark(edit.key, "saving …", "info"); send(edit); }
start();
