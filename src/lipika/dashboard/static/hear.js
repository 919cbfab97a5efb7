// A session of an audit: one clip after the other. First whether it can be used, then what is said in it.

const box = document.getElementById("hear");
const at = (name) => document.getElementById(`hear-${name}`);
const csrf = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRF-Token"];
const began = Date.now();

let queue = [];      // clips to come; the first of them is fetched beforehand
let clip = null;     // the one that plays
let shownAt = 0;
let step = "busy";   // busy, first (usable?), second (what is said), done
let heard = [];      // places of this session, the last one last
let next = null;     // an Audio that fetches what comes next
let sinceStart = 0;

async function ask(path, fields) {
  const body = new URLSearchParams({ audit: box.dataset.audit, language: box.dataset.language, ...fields });
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf }, body });
  if (answer.redirected || answer.status === 401) throw new Error("Your session has ended: load the page again.");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

function setStep(name) {
  step = name;
  box.dataset.step = name;
}

function say(text) {
  at("trouble").textContent = text;
  at("trouble").classList.toggle("hidden", !text);
}

function showProgress({ made, wanted, mine }) {
  at("progress").textContent = `${made} of ${wanted} judgements, ${mine} of them yours`;
  at("bar").setAttribute("width", wanted ? (100 * made) / wanted : 0);
}

function showTime() {
  const minutes = Math.floor((Date.now() - began) / 60000);
  const whole = Number(box.dataset.minutes);
  at("time").textContent = minutes < whole
    ? `${sinceStart} in this session, minute ${minutes + 1} of ${whole}`
    : `${sinceStart} in this session. ${whole} minutes are over: ears get tired, take a rest.`;
}

function play(fromStart) {
  const player = at("player");
  if (fromStart) player.currentTime = 0;
  player.play().catch(() => {}); // browsers may want a key first
}

function toggle() {
  const player = at("player");
  if (player.paused) play(player.ended); else player.pause();
}

function show(fresh) {
  clip = fresh;
  setStep("first");
  shownAt = Date.now();
  at("title").textContent = `${clip.name}, ${clip.seconds.toFixed(1)} s`;
  at("clip").classList.remove("hidden");
  at("first").classList.remove("hidden");
  at("second").classList.add("hidden");
  at("text").value = "";
  at("player").src = clip.audio;
  say("");
  at("usable").focus();
  play(false);
}

function reveal() {
  if (step !== "first") return;
  setStep("second");
  at("first").classList.add("hidden");
  at("second").classList.remove("hidden");
  at("text").lang = clip.language;
  at("text").value = clip.corrected || clip.text;
  at("text").focus();
}

function finish() {
  clip = null;
  setStep("done");
  at("player").removeAttribute("src");
  at("clip").classList.add("hidden");
  at("title").textContent = "Nothing is left to hear here";
}

async function refill() {
  const found = await ask("/audit/take", {});
  queue = found.clips.filter((one) => !clip || one.place !== clip.place);
  showProgress(found.progress);
  if (queue.length) {
    next = new Audio();
    next.preload = "auto";
    next.src = queue[0].audio;
  }
}

async function goOn() {
  if (!queue.length) await refill();
  if (!queue.length) return finish();
  show(queue.shift());
  await refill();
}

async function judge(usable) {
  if (!clip || step === "busy") return;
  const before = step;
  setStep("busy");
  const fields = { place: clip.place, usable, text: usable === "yes" ? at("text").value : "", seconds: (Date.now() - shownAt) / 1000 };
  try {
    const answer = await ask("/audit/judge", fields);
    heard.push(clip.place);
    sinceStart += 1;
    showProgress(answer.progress);
    showTime();
    clip = null;
    await goOn();
    if (!answer.kept) say("Others had heard the clip before it already; yours was not needed.");
  } catch (error) {
    setStep(clip ? before : "done");
    say(error.message);
  }
}

async function back() {
  if (!heard.length || step === "busy") return;
  const before = step;
  setStep("busy");
  try {
    const found = await ask("/audit/take", { place: heard.pop() });
    if (!found.clips.length) return setStep(before);
    if (clip) queue.unshift(clip);
    show(found.clips[0]);
  } catch (error) {
    setStep(before);
    say(error.message);
  }
}

function bind() {
  at("usable").addEventListener("click", reveal);
  at("unusable").addEventListener("click", () => judge("no"));
  at("pass").addEventListener("click", () => judge("pass"));
  at("back").addEventListener("click", () => judge("no"));
  at("second").addEventListener("submit", (event) => { event.preventDefault(); judge("yes"); });
  at("text").addEventListener("input", () => {
    at("save").firstChild.data = at("text").value === clip.text ? "It is so " : "Save ";
  });
  at("player").addEventListener("error", () => {
    if (clip && at("player").getAttribute("src")) say("Its audio cannot be read: press 3 to pass it over.");
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target === at("text");
    const held = event.ctrlKey || event.altKey || event.metaKey;
    let done = true;
    if (event.altKey && event.code === "KeyR") play(true);
    else if (event.altKey && event.code === "KeyB") back();
    else if (event.code === "Space" && (event.ctrlKey || (!typing && !held))) toggle();
    else if (step === "first" && !held && event.key === "1") reveal();
    else if (step === "first" && !held && event.key === "2") judge("no");
    else if (step === "first" && !held && event.key === "3") judge("pass");
    else if (step === "second" && event.key === "Escape") judge("no");
    else if (step === "second" && typing && event.key === "Enter" && !event.isComposing && !event.shiftKey) judge("yes");
    else done = false;
    if (done) event.preventDefault();
  });
}

if (box) {
  bind();
  showTime();
  setInterval(showTime, 15000);
  goOn().catch((error) => { setStep("done"); say(error.message); });
}
