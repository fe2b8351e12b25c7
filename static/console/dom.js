// Small parts that every section draws with. Text only ever becomes text, never markup.

const LONGEST_ID = 13;

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Change the text, if it is another one: what stays keeps its selection. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make the rows of a table body show `items`, reusing what is there.
 *
 * `cells` turns one item into texts and elements, one for each column of the table's head. */
export function fillRows(body, items, cells, empty) {
  const heads = body.closest("table").tHead.rows[0].cells;
  const shown = items.length > 0 ? items.map(cells) : [[empty]];
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((values, index) => {
    const row = body.rows[index] ?? body.insertRow();
    while (row.cells.length > values.length) row.deleteCell(-1);
    values.forEach((value, column) => {
      const cell = row.cells[column] ?? row.insertCell();
      cell.className = items.length > 0 ? heads[column].className : "empty";
      cell.colSpan = items.length > 0 ? 1 : heads.length;
      if (value instanceof Element) {
        if (cell.innerHTML !== value.outerHTML) cell.replaceChildren(value);
      } else if (cell.firstElementChild !== null) cell.replaceChildren(value);
      else say(cell, value);
    });
  });
}

/** A word with a sign before it, so that colour is not all that tells. */
export function badge(word, state) {
  return make("span", { className: "badge", "data-state": state }, word);
}

/** A request's id, or what it begins and ends with; pressing it looks its log lines up. */
export function requestId(id) {
  if (!id) return "";
  // Ids that a gateway makes in a row begin alike: the end tells them apart.
  const text = id.length > LONGEST_ID ? `${id.slice(0, 4)}…${id.slice(4 - LONGEST_ID)}` : id;
  return make("button", { type: "button", className: "id", "data-request-id": id, title: `Find ${id} in the log` }, text);
}

/** A route, which may be long: lines of it end after slashes. */
export function breakable(route) {
  return make("span", {}, ...route.split(/(?<=\/)/).flatMap((part) => [part, make("wbr")]));
}

export function code(text) {
  return make("code", {}, text);
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return value >= 100 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`;
}

export function clock(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString(undefined, { hour12: false });
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString()} `;
  return make("time", { dateTime: iso, title: iso }, `${day}${time}`);
}

/** "200", or why there is no such number. */
export function status(line) {
  if (line.event !== "request_answered") return badge("left", "warning");
  if (line.truncated) return badge("cut off", "bad");
  return line.status >= 500 ? badge(`${line.status}`, "bad") : line.status >= 400 ? badge(`${line.status}`, "warning") : `${line.status}`;
}
