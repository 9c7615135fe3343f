"use strict";
/* Elements, and numbers as they are printed. */

const element = (id) => document.getElementById(id);

/* A DOM element; text is always set as text, never parsed as markup. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== "") node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(measure().digits));
/* None below three patients: resampling so few gives a width that means nothing. */
const tooSmall = (r) => (r && r.patients !== null && r.patients < D.meta.minPatients ? D.meta.tooSmall : "");
/* A dash between numbers that may be negative would mislead. */
const between = (low, high) => `${number(low)}${measure().low === null ? " to " : "–"}${number(high)}`;
const hasInterval = (r) => r && r.low !== null && r.low !== undefined && !(r.patients < 3);
const interval = (r) => [hasInterval(r) ? between(r.low, r.high) : "", tooSmall(r)].filter((part) => part).join(" ");

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
