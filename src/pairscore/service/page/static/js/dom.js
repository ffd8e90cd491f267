/**
 * Elements made without HTML text: what a user typed can only ever become text.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} name the tag.
 * @param {Object<string, *>} attributes `class`, `id`, `aria-...`; false, null and undefined leave one out, true sets it empty;
 *   `on` maps events to listeners; `value` and `checked` are set as properties.
 * @param {...(Node|string|number|null|undefined|Array)} children strings become text.
 * @returns {HTMLElement}
 */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/**
 * Make an SVG element; otherwise as `el`.
 *
 * @returns {SVGElement}
 */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

/**
 * Put children in place of what an element holds.
 *
 * @param {Element} parent
 * @param {...(Node|string|number|null|undefined|Array)} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodes(children));
}

/** @returns {HTMLElement} the element of that id. */
export function byId(id) {
  return document.getElementById(id);
}

let made = 0;

/** @returns {string} an id that no other element has. */
export function newId(stem) {
  made += 1;
  return `${stem}-${made}`;
}

/** Set a custom property of CSS; the content policy forbids style attributes, and scripts may do this. */
export function setVar(element, name, value) {
  element.style.setProperty(name, String(value));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    set(element, name, value);
  }
  element.append(...nodes(children));
  return element;
}

function set(element, name, value) {
  if (name === "on") {
    for (const [event, listener] of Object.entries(value)) {
      element.addEventListener(event, listener);
    }
  } else if (name === "value" || name === "checked") {
    element[name] = value;
  } else if (value === true) {
    element.setAttribute(name, "");
  } else if (value !== false && value !== null && value !== undefined) {
    element.setAttribute(name, String(value));
  }
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
