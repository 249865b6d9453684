// Small things that every view needs. Texts of people go into text nodes only, never into markup.

/** An element with properties (`class`, `on…` handlers, attributes) and children. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * Runs `draw`, which puts new elements in the place of those in `root`. The focus stays on what it
 * was on: found again by the `data-id` around it. False if it was there and that is gone.
 */
export function keepFocus(root, draw) {
  const parts = (element) => [...element.querySelectorAll("a, button")];
  const holder = root.contains(document.activeElement) && document.activeElement.closest("[data-id]");
  const at = holder ? parts(holder).indexOf(document.activeElement) : -1;
  draw();
  if (at < 0) return true;
  const part = root.querySelector(`[data-id="${holder.dataset.id}"]`);
  const again = part && parts(part)[at];
  again?.focus({ preventScroll: true });
  return Boolean(again);
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon of index.html's sheet; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** One of the colours that names are told apart by. */
export function hue(name) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return `hue-${hash % 8}`;
}

/** The first letter of a name, in a disc of its colour. */
export function avatar(name) {
  const first = [...name][0] ?? "?";
  return el("span", { class: `avatar ${hue(name)}`, "aria-hidden": "true" }, first.toUpperCase());
}

const time = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const timeOf = (date) => time.format(date);
export const wholeTimeOf = (date) => whole.format(date);

const midnight = (date) => new Date(date).setHours(0, 0, 0, 0);
export const sameDay = (a, b) => midnight(a) === midnight(b);

/** A day's name: today, yesterday, or its date. */
export function dayOf(date) {
  const days = Math.round((midnight(date) - midnight(Date.now())) / 86_400_000);
  if (days === 0 || days === -1) {
    const name = relative.format(days, "day");
    return name.charAt(0).toUpperCase() + name.slice(1);
  }
  const thisYear = new Date(date).getFullYear() === new Date().getFullYear();
  return (thisYear ? day : dayAndYear).format(date);
}

const bytes = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

/** A size as people say it. */
export function sizeOf(size) {
  if (size < 1024) return `${size} bytes`;
  if (size < 1024 * 1024) return `${bytes.format(size / 1024)} KiB`;
  return `${bytes.format(size / 1024 / 1024)} MiB`;
}
