// A session of a comparison: one clip after the other, two texts of it, and which is better. Which way of asking made
// which is not known here: the board does not send it.

import { align, words } from "./difference.js";
import { follow } from "./wave.js";

const box = document.getElementById("ballot");
const at = (name) => document.getElementById(`ballot-${name}`);
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRF-Token"];
const KEYS = { 1: "left", 2: "right", 0: "equal", "=": "equal", x: "bad", n: "skip" };

let queue = [];     // clips to come; the sound of the first is fetched beforehand
let clip = null;    // the one before us
let waves = new Map(); // place -> its waveform and player, on their way or there

async function ask(path, fields) {
  const body = new URLSearchParams({ comparison: box.dataset.comparison, language: box.dataset.language, ...fields });
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf }, body });
  if (answer.redirected || answer.status === 401) throw new Error("Your session has ended: load the page again.");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

const setStep = (name) => { box.dataset.step = name; };

function say(text) {
  at("trouble").textContent = text;
  at("trouble").classList.toggle("hidden", !text);
}

function showProgress({ made, wanted, mine }) {
  at("progress").textContent = `${made} of ${wanted} votes, ${mine} of them yours`;
  at("bar").setAttribute("width", wanted ? (100 * made) / wanted : 0);
}

// ------------------------------------------------------------------ listening

const player = () => document.getElementById("player");

function fetchWave(one) {
  if (!waves.has(one.place)) {
    const coming = fetch(one.wave, { headers: { "hx-request": "true" } }).then(async (reply) => {
      if (!reply.ok) throw new Error(`the board answers ${reply.status}`);
      return reply.text();
    });
    coming.then((html) => {
      const source = new DOMParser().parseFromString(html, "text/html").querySelector("audio")?.getAttribute("src");
      return source && fetch(source).then((reply) => reply.blob()); // it lies in the browser's cache when its turn comes
    }).catch(() => waves.delete(one.place));
    waves.set(one.place, coming);
  }
  return waves.get(one.place);
}

async function showWave(one) {
  at("sound").replaceChildren();
  try {
    const html = await fetchWave(one);
    if (clip !== one) return; // somebody has gone on meanwhile
    at("sound").innerHTML = html;
    const sound = player();
    if (!sound) return say("Its audio is not there: N passes it over.");
    sound.defaultPlaybackRate = sound.playbackRate = Number(localStorage.getItem("speed")) || 1;
    sound.addEventListener("error", () => say("Its audio cannot be read: N passes it over."));
    follow(sound, document.getElementById("wave"), document.getElementById("head"));
    sound.play().catch(() => {}); // browsers may want a key first
  } catch (error) {
    if (clip === one) say(`Its audio did not come: ${error.message}`);
  }
}

function toggle() {
  const sound = player();
  if (!sound) return;
  if (sound.paused) sound.play().catch(() => say("This clip cannot be played.")); else sound.pause();
}

// ------------------------------------------------------------------ reading

const spoken = (text) => (text === "NO_SPEECH" ? [] : words(text));

function write(side, text, parts, kind) {
  const line = at(side);
  line.lang = clip.language;
  line.classList.toggle("soft", !spoken(text).length);
  if (!spoken(text).length) { line.textContent = "Nobody speaks."; return; }
  const nodes = parts.filter(([of]) => of === "both" || of === kind).flatMap(([of, word]) => {
    if (of === "both") return [word, " "];
    const marked = document.createElement("mark");
    marked.textContent = word;
    return [marked, " "];
  });
  line.replaceChildren(...nodes);
}

function show(fresh) {
  clip = fresh;
  setStep("choose");
  at("title").textContent = `${clip.name}, ${clip.seconds.toFixed(1)} s`;
  at("clip").classList.remove("hidden");
  const parts = align(spoken(clip.left), spoken(clip.right));
  write("left", clip.left, parts, "before");
  write("right", clip.right, parts, "after");
  const same = clip.left === clip.right;
  at("same").classList.toggle("hidden", !same);
  for (const button of box.querySelectorAll("[data-choice=left], [data-choice=right]")) button.disabled = same;
  say("");
  at("title").focus({ preventScroll: true });
  showWave(clip);
}

function finish() {
  clip = null;
  setStep("done");
  at("clip").classList.add("hidden");
  at("sound").replaceChildren();
  at("title").textContent = "Nothing is left to vote on here";
  at("title").focus();
}

// ------------------------------------------------------------------ voting

async function refill() {
  const found = await ask("/compare/take", {});
  queue = found.clips.filter((one) => !clip || one.place !== clip.place);
  showProgress(found.progress);
  if (queue.length) fetchWave(queue[0]).catch(() => {});
}

async function goOn() {
  if (!queue.length) await refill();
  if (!queue.length) return finish();
  show(queue.shift());
  await refill();
}

async function choose(choice) {
  if (!clip || box.dataset.step !== "choose") return;
  if (clip.left === clip.right && (choice === "left" || choice === "right")) return;
  setStep("busy");
  try {
    showProgress((await ask("/compare/vote", { place: clip.place, choice })).progress);
    waves.delete(clip.place);
    clip = null;
    await goOn();
  } catch (error) {
    setStep(clip ? "choose" : "done");
    say(error.message);
  }
}

async function undo() {
  if (box.dataset.step === "busy") return;
  const before = box.dataset.step;
  setStep("busy");
  try {
    const found = await ask("/compare/undo", {});
    showProgress(found.progress);
    if (!found.clips.length) { setStep(before); return say("You have voted on nothing yet."); }
    if (clip) queue.unshift(clip);
    show(found.clips[0]);
  } catch (error) {
    setStep(before);
    say(error.message);
  }
}

if (box) {
  box.addEventListener("click", (event) => {
    const button = event.target.closest("[data-choice]");
    if (!button) return;
    if (button.dataset.choice === "undo") undo(); else choose(button.dataset.choice);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (event.code === "Space" && event.target.closest?.("button, a") === null) toggle();
    else if (key === "u") undo();
    else if (KEYS[key]) choose(KEYS[key]);
    else return;
    event.preventDefault();
  });
  goOn().catch((error) => { setStep("done"); say(error.message); });
}
