"use strict";
// Curves and maps, drawn in real pixels so that text keeps its size on every screen. No library, no network.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

function label(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e4 || size < 1e-3) {
    if (size >= 1e3 && size < 1e9) return size >= 1e6 ? trim(value / 1e6) + "M" : trim(value / 1e3) + "k";
    return value.toExponential(1).replace("e+", "e");
  }
  return trim(value);
}

function trim(value) {
  return String(Number(value.toPrecision(4)));
}

// Round steps of 1, 2 or 5 that cover a range in about `count` parts.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

function range(values) {
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < 1e-12 * Math.max(Math.abs(low), 1e-6)) {
    const pad = Math.abs(low) * 0.1 || 1;
    return [low - pad, high + pad];
  }
  const pad = (high - low) * 0.06;
  return [low - pad, high + pad];
}

// Call `draw(width, height)` now and at every change of the element's width.
function sized(element, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth && element.clientWidth !== width) {
      width = element.clientWidth;
      draw(width, element.clientHeight);
    }
  }).observe(element);
}

function tip(element) {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  element.append(box);
  return {
    box,
    at(x, y) {
      box.hidden = false;
      box.style.left = Math.max(0, Math.min(x + 14, element.clientWidth - box.offsetWidth)) + "px";
      box.style.top = Math.max(0, y - box.offsetHeight - 12 < 0 ? y + 16 : y - box.offsetHeight - 12) + "px";
    },
  };
}

function chart(element, panel) {
  const hint = tip(element);
  const all = panel.lines.flatMap(line => line.points);
  const [left, right] = [Math.min(...all.map(p => p[0])), Math.max(...all.map(p => p[0]))];
  const [low, high] = range(all.map(p => p[1]));
  sized(element, (width, height) => {
    element.querySelector("svg")?.remove();
    const box = { left: 46, right: 8, top: 8, bottom: 22 };
    const x = v => box.left + (width - box.left - box.right) * (right > left ? (v - left) / (right - left) : 0.5);
    const y = v => height - box.bottom - (height - box.top - box.bottom) * (v - low) / (high - low);
    const svg = make("svg", { role: "img", "aria-label": panel.title });
    element.prepend(svg);
    for (const v of ticks(low, high, 5)) {
      make("line", { class: "rule", x1: box.left, x2: width - box.right, y1: y(v), y2: y(v) }, svg);
      make("text", { x: box.left - 7, y: y(v) + 4, "text-anchor": "end" }, svg).textContent = label(v);
    }
    for (const v of right > left ? ticks(left, right, width / 90) : [left]) {
      make("text", { x: x(v), y: height - 5, "text-anchor": "middle" }, svg).textContent = label(v);
    }
    for (const line of panel.lines) {
      const style = `stroke: var(--c${line.color})`;
      const path = line.points.map((p, i) => (i ? "L" : "M") + x(p[0]).toFixed(1) + " " + y(p[1]).toFixed(1)).join("");
      make("path", { class: "curve", d: path, style, ...(line.dashed ? { "stroke-dasharray": "5 4" } : {}) }, svg);
      if (line.points.length <= 25) {
        for (const p of line.points) {
          make("circle", { cx: x(p[0]), cy: y(p[1]), r: 2.6, style: `fill: var(--c${line.color})` }, svg);
        }
      }
    }
    const cursor = make("line", { class: "cursor", y1: box.top, y2: height - box.bottom, visibility: "hidden" }, svg);
    element.onpointermove = event => {
      const px = event.clientX - element.getBoundingClientRect().left;
      const near = line => line.points.reduce((a, b) => (Math.abs(x(b[0]) - px) < Math.abs(x(a[0]) - px) ? b : a));
      const at = near(panel.lines[0])[0];
      cursor.setAttribute("visibility", "visible");
      cursor.setAttribute("x1", x(at));
      cursor.setAttribute("x2", x(at));
      const rows = panel.lines.map(line => `${line.label}: ${trim(near(line)[1])}`);
      hint.box.replaceChildren(...[`step ${Math.round(at)}`, ...rows].map(text => {
        const row = document.createElement("div");
        row.textContent = text;
        return row;
      }));
      hint.at(x(at), 40);
    };
    element.onpointerleave = () => {
      cursor.setAttribute("visibility", "hidden");
      hint.box.hidden = true;
    };
  });
}

function picture(run, index, scale) {
  const element = document.createElement("i");
  element.className = `pic thumbs${run}` + (data.maps[run].tiny ? " tiny" : "");
  element.style.setProperty("--x", index % data.maps[run].columns);
  element.style.setProperty("--y", Math.floor(index / data.maps[run].columns));
  element.style.setProperty("--k", scale);
  return element;
}

function color(number, total) {
  return total <= 8 ? `var(--c${number})` : `hsl(${(number * 360) / total} 62% var(--${number % 2 ? "deep" : "pale"}))`;
}

function map(element, run) {
  const given = data.maps[run];
  const hint = tip(element);
  let shown = Object.keys(given.points).includes("t-SNE") ? "t-SNE" : Object.keys(given.points)[0];
  let redraw = () => {};
  const tabs = element.parentElement.querySelector(".tabs");
  for (const name of Object.keys(given.points)) {
    const button = document.createElement("button");
    button.textContent = name;
    button.setAttribute("aria-pressed", name === shown);
    button.onclick = () => {
      shown = name;
      for (const other of tabs.children) other.setAttribute("aria-pressed", other === button);
      redraw();
    };
    tabs.append(button);
  }
  const draw = (width, height) => {
    element.querySelector("svg")?.remove();
    const svg = make("svg", { role: "img", "aria-label": `${shown} of embeddings` });
    element.prepend(svg);
    const places = given.points[shown].map(([x, y]) => [10 + x * (width - 20), 10 + (1 - y) * (height - 20)]);
    const dots = places.map(([x, y], index) => make("circle", {
      cx: x.toFixed(1), cy: y.toFixed(1), r: 4,
      style: `fill: ${given.labels.length ? color(given.labels[index], given.classes.length) : "var(--c0)"}`,
    }, svg));
    let on = null;
    const leave = () => {
      on?.classList.remove("on");
      hint.box.hidden = true;
    };
    element.onpointermove = event => {
      const area = element.getBoundingClientRect();
      const [px, py] = [event.clientX - area.left, event.clientY - area.top];
      let best = -1, distance = 24 ** 2;
      places.forEach(([x, y], index) => {
        const d = (x - px) ** 2 + (y - py) ** 2;
        if (d < distance) [best, distance] = [index, d];
      });
      leave();
      if (best < 0) return;
      on = dots[best];
      on.classList.add("on");
      svg.append(on);
      const text = document.createElement("div");
      text.textContent = given.labels.length ? given.classes[given.labels[best]] : `sample ${best}`;
      hint.box.replaceChildren(picture(run, best, Math.max(1, Math.round(72 / given.width))), text);
      hint.at(...places[best]);
    };
    element.onpointerdown = element.onpointermove;
    element.onpointerleave = leave;
  };
  redraw = () => draw(element.clientWidth, element.clientHeight);
  sized(element, draw);
}

// How similar the patches of all samples are to a chosen one: products of whole numbers that the page holds.
function patches(element, run) {
  const given = data.tokens[run], [rows, columns] = given.grid, count = rows * columns;
  const values = Int8Array.from(atob(given.values), letter => letter.charCodeAt(0));
  const canvases = [...element.querySelectorAll("canvas")], places = [...element.querySelectorAll("span.patch")];
  const [low, high] = element.parentElement.querySelectorAll(".scale span");
  const size = given.dimensions;
  let chosen = [0, 0];
  const similarity = (a, b) => {
    let sum = 0;
    for (let k = 0; k < size; k++) sum += values[a * size + k] * values[b * size + k];
    return Math.max(-1, Math.min(1, sum * given.scale ** 2)); // rounding goes a little beyond
  };
  const choose = (image, patch) => {
    chosen = [image, patch];
    const found = Array.from({ length: canvases.length * count }, (_, index) => similarity(image * count + patch, index));
    const least = Math.min(...found), span = Math.max(...found) - least || 1;
    low.textContent = least.toFixed(2);
    high.textContent = (least + span).toFixed(2);
    const heat = getComputedStyle(document.documentElement).getPropertyValue("--heat").split(",").map(Number);
    canvases.forEach((canvas, number) => {
      const picture = new ImageData(columns, rows);
      for (let k = 0; k < count; k++) {
        picture.data.set([...heat, Math.round(255 * (found[number * count + k] - least) / span)], 4 * k);
      }
      canvas.getContext("2d").putImageData(picture, 0, 0);
    });
    for (const place of places) {
      const mark = place.querySelector("b");
      mark.hidden = Number(place.dataset.image) !== image;
      const [y, x] = [Math.floor(patch / columns), patch % columns];
      mark.style.cssText = `left:${(100 * x) / columns}%;top:${(100 * y) / rows}%;width:${100 / columns}%;height:${100 / rows}%`;
    }
  };
  element.onclick = event => {
    const place = event.target.closest(".patch");
    if (!place) return;
    const area = place.getBoundingClientRect();
    const at = (from, length, parts) => Math.max(0, Math.min(parts - 1, Math.floor((from / length) * parts)));
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    choose(Number(place.dataset.image), at(y, area.height, rows) * columns + at(x, area.width, columns));
  };
  element.onkeydown = event => {
    const [dy, dx] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
    const place = event.target.closest(".patch");
    if (!place || (!dx && !dy && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const y = Math.max(0, Math.min(rows - 1, Math.floor(chosen[1] / columns) + dy));
    const x = Math.max(0, Math.min(columns - 1, (chosen[1] % columns) + dx));
    choose(Number(place.dataset.image), y * columns + x);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => choose(...chosen));
  choose(0, Math.floor(rows / 2) * columns + Math.floor(columns / 2));
}

// The confusion of many classes: a pixel each, the share of the row's samples as opacity; the cell that is pointed at is told.
function heat(canvas) {
  const { classes, cells } = data.confusions[canvas.dataset.run];
  const totals = classes.map(() => 0);
  for (const [row, , count] of cells) totals[row] += count;
  const told = canvas.parentElement.querySelector(".told");
  const found = new Map(cells.map(([row, column, count]) => [row * classes.length + column, count]));
  const draw = () => {
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--heat").split(",").map(Number);
    const picture = new ImageData(classes.length, classes.length);
    for (const [row, column, count] of cells) {
      const opacity = Math.round(255 * (0.15 + (0.85 * count) / totals[row]));
      picture.data.set([...ink, opacity], 4 * (row * classes.length + column));
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };
  canvas.onpointermove = event => {
    const area = canvas.getBoundingClientRect();
    const at = (from, length) => Math.max(0, Math.min(classes.length - 1, Math.floor((from / length) * classes.length)));
    const [row, column] = [at(event.clientY - area.top, area.height), at(event.clientX - area.left, area.width)];
    const count = found.get(row * classes.length + column) ?? 0;
    told.textContent = `${classes[row]} taken for ${classes[column]}: ${count} of ${totals[row]}`;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}

document.querySelectorAll("canvas.heat").forEach(heat);
document.querySelectorAll(".rows.patches").forEach(element => patches(element, Number(element.dataset.run)));
document.querySelectorAll(".chart").forEach((element, index) => chart(element, data.panels[index]));
document.querySelectorAll(".map").forEach(element => map(element, Number(element.dataset.run)));
document.querySelectorAll(".classes i").forEach(element => {
  element.style.background = color(Number(element.dataset.class), Number(element.dataset.total));
});
