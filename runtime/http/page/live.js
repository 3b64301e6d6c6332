"use strict";
// Asks this address alone, one question at a time: a slow line makes the page slower and nothing else.

const KEPT_MS = 120000;
const STATE_MS = 1000;
const PICTURE_MS = 100;
const AGAIN_MS = 2000;
// Okabe and Ito's colours, which colour-blind people tell apart.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a00", "#7a7a7a"];
const at = (id) => document.getElementById(id);
const history = [];

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10000) });
  return answer;
}

function later(step, ms) {
  // A page that nobody looks at asks for nothing.
  setTimeout(function wait() { document.hidden ? setTimeout(wait, 500) : step(); }, ms);
}

async function picture() {
  let pause = PICTURE_MS;
  try {
    const answer = await ask("live/picture");
    if (answer.ok) {
      const url = URL.createObjectURL(await answer.blob());
      const image = at("picture");
      const before = image.src;
      image.src = url;
      await image.decode();
      image.hidden = false;
      at("no-picture").hidden = true;
      if (before) URL.revokeObjectURL(before);
    } else {
      pause = AGAIN_MS;
      at("picture").hidden = true;
      at("no-picture").hidden = false;
      at("no-picture").textContent = (await answer.json()).error;
    }
  } catch { pause = AGAIN_MS; }
  later(picture, pause);
}

async function state() {
  let pause = STATE_MS;
  try {
    const answer = await ask("live/state");
    if (!answer.ok) throw new Error((await answer.json()).error);
    show(await answer.json());
  } catch (error) {
    pause = AGAIN_MS;
    health(false, error instanceof TypeError || error.name === "TimeoutError" ? "the service does not answer" : error.message);
  }
  later(state, pause);
}

function health(good, text) {
  at("health").className = good ? "good" : "bad";
  at("health").textContent = text;
}

function rows(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => {
    const term = document.createElement("dt"), data = document.createElement("dd");
    term.textContent = name;
    data.textContent = value;
    return [term, data];
  }));
}

function show(now) {
  document.title = now.bundle.name + " – multigraft";
  at("name").textContent = now.bundle.name;
  health(now.health.ok, now.health.ok ? `${now.rate_hz.toFixed(1)} frames a second` : now.health.reason);
  rows(at("answers"), Object.entries(now.words));
  const watts = now.power.reduce((sum, reading) => sum + reading.watts, 0);
  history.push({ when: Date.now(), parts: now.latency_us, watts: now.power.length ? watts : null });
  while (history[0].when < Date.now() - KEPT_MS) history.shift();
  const total = Object.values(now.latency_us).reduce((sum, us) => sum + us, 0);
  at("time-now").textContent = total ? `${(total / 1000).toFixed(1)} ms` : "";
  const names = [...new Set(history.flatMap((h) => Object.keys(h.parts)))];
  stacked(at("time"), names, (h, name) => (h.parts[name] || 0) / 1000, "ms");
  legend(names);
  const has = history.some((h) => h.watts !== null);
  at("power").hidden = !has;
  at("no-power").hidden = has;
  at("power-now").textContent = now.power.length ? `${watts.toFixed(2)} W` : "";
  if (has) stacked(at("power"), ["watts"], (h) => h.watts || 0, "W");
  const joules = now.power.map((reading) => [`energy, ${reading.rail}`, `${reading.joules.toFixed(0)} J (${reading.source})`]);
  rows(at("figures"), [
    ["frames", `${now.frames} answered, ${now.dropped} dropped`],
    ["source", now.source],
    ["up for", span(now.uptime_s)],
    ...(now.temperature_c === null ? [] : [["temperature", `${now.temperature_c.toFixed(1)} °C`]]),
    ...(now.throttled === null ? [] : [["slowed down", now.throttled ? "yes" : "no"]]),
    ["memory", `${(now.memory_bytes / 1048576).toFixed(0)} MiB`],
    ...joules,
    ...Object.entries(now.schedule).map(([task, known]) =>
      [`deadlines, ${task}`, `${known.missed} of ${known.met + known.missed} missed, ${Number(known.rate_hz.toPrecision(3))} a second`]),
    ...(now.offload === null ? [] : [["server", served(now.offload)]]),
    ...Object.entries(now.exits).map(([name, known]) => [`exit, ${name}`, early(known)]),
    ...Object.entries(now.errors).map(([kind, count]) => [`errors, ${kind}`, String(count)]),
    ["bundle", now.bundle.sha256.slice(0, 12)],
  ]);
}

function served(known) {
  const { server, local, failed } = known.ends;
  const state = known.up === null ? "not asked yet" : known.up ? "answers" : "does not answer";
  return `${state}: ${server} from there, ${local} here, ${failed} here as it failed`;
}

function early(known) {
  const taken = known.reached ? `${(100 * known.taken / known.reached).toFixed(1)} % of ${known.reached} frames leave` : "no frame yet";
  const audit = known.audited ? `, ${known.disagreed} of ${known.audited} audited ones disagree` : "";
  return known.open ? taken + audit : `closed, its promise was broken${audit}`;
}

function span(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function legend(names) {
  const list = at("legend");
  if (list.dataset.names === names.join("\n")) return;
  list.dataset.names = names.join("\n");
  list.replaceChildren(...names.map((name, number) => {
    const item = document.createElement("li"), mark = document.createElement("i");
    mark.style.background = COLOURS[number % COLOURS.length];
    item.append(mark, name);
    return item;
  }));
}

function stacked(canvas, names, value, unit) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = 120;
  if (canvas.width !== Math.round(width * scale)) { canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale); }
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const sums = history.map((h) => names.reduce((sum, name) => sum + value(h, name), 0));
  const sorted = [...sums].sort((a, b) => a - b);
  // One slow frame must not flatten the curve: what is above leaves the picture.
  const most = nice(Math.max(sorted[Math.floor(sorted.length * 0.98)] || 0, 1e-3) * 1.15);
  const end = Date.now(), x = (when) => width * (1 - (end - when) / KEPT_MS), y = (v) => height - 2 - (height - 20) * Math.min(1.1, v / most);
  const base = history.map(() => 0);
  names.forEach((name, number) => {
    pen.beginPath();
    history.forEach((h, i) => pen.lineTo(x(h.when), y(base[i])));
    for (let i = history.length - 1; i >= 0; i--) { base[i] += value(history[i], name); pen.lineTo(x(history[i].when), y(base[i])); }
    pen.closePath();
    pen.fillStyle = pen.strokeStyle = COLOURS[number % COLOURS.length];
    pen.fill();
    pen.stroke();
  });
  pen.fillStyle = style.color;
  pen.font = "12px system-ui, sans-serif";
  pen.fillText(`${most} ${unit}`, 2, 12);
  pen.globalAlpha = 0.25;
  pen.fillRect(0, y(most), width, 1);
  pen.fillRect(0, height - 1, width, 1);
  pen.globalAlpha = 1;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((s) => s * power >= value) || 10;
  return Number((step * power).toPrecision(1));
}

state();
picture();
