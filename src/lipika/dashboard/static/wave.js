// A player and its waveform: the head follows the sound, and a click on the waveform plays from there.

export function follow(sound, wave, head) {
  const seconds = Number(wave.dataset.seconds);
  let drawing = 0;
  const draw = () => {
    const x = `${(100 * sound.currentTime) / seconds}%`;
    head.setAttribute("x1", x);
    head.setAttribute("x2", x);
    if (!sound.paused && sound.isConnected) drawing = requestAnimationFrame(draw);
  };
  for (const name of ["play", "seeked", "timeupdate"]) {
    sound.addEventListener(name, () => { cancelAnimationFrame(drawing); draw(); });
  }
  wave.dataset.bound = "yes";
  wave.addEventListener("click", (event) => {
    const box = wave.getBoundingClientRect();
    sound.currentTime = ((event.clientX - box.left) / box.width) * seconds;
    sound.play();
  });
}
