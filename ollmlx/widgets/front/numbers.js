/** Numbers as people read them. */

/** Bytes, as Ollama writes them: `98 MB`, `4.7 GB`. */
export function size(bytes) {
  let number = Number(bytes) || 0;
  for (const unit of ["B", "kB", "MB"]) {
    if (number < 1000) return `${number.toFixed(0)} ${unit}`;
    number /= 1000;
  }
  return `${number.toFixed(1)} GB`;
}

/** Seconds: `42 s`, `3 min 5 s`, `2 h 4 min`. */
export function duration(seconds) {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Until a moment written as RFC 3339: `4 min 10 s`, or `now`. */
export function until(moment) {
  const seconds = (Date.parse(moment) - Date.now()) / 1000;
  return seconds > 0 ? duration(seconds) : "now";
}

/** At most three digits that count: `0.52`, `12.3`, `1234`. */
export function short(number) {
  if (number >= 100) return number.toFixed(0);
  return number >= 10 ? number.toFixed(1) : number.toFixed(2);
}
