// Says how long ago times were, and how long something takes, in words.

const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

// From which number of seconds on each unit is used, and how many seconds it has.
const units = [["day", 86400], ["hour", 3600], ["minute", 60]];

// As the server says it, but in whole seconds.
export function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

function ago(seconds) {
  const [unit, size] = units.find(([, size]) => seconds >= size) ?? [];
  return unit ? format.format(-Math.floor(seconds / size), unit) : "just now";
}

const times = [...document.querySelectorAll("time")];
for (const time of times) time.title = time.textContent;

function tell() {
  for (const time of times) {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

tell();
setInterval(tell, 10000);
