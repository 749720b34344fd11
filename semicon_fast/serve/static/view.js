// Creates and updates DOM elements; no state and no requests here.

const find = (id) => document.getElementById(id);

export function describe(about) {
  const count = about.count.toLocaleString("en");
  const parts = about.parts.map((part) => `${title(part.name)} ${part.bits}`).join(", ");
  find("about").textContent = `${count} images, codes of ${about.bits} bits (${parts})`;
  const megabytes = Math.floor(about.max_bytes / 2 ** 20);
  const megapixels = Math.floor(about.max_pixels / 1e6);
  find("limits").textContent = `Up to ${megabytes} MB and ${megapixels} megapixels`;
  find("drop").hidden = about.network === null;
  find("no-model").hidden = about.network !== null;
  find("query-maps").hidden = !about.has_maps;
  for (const part of about.parts.length > 1 ? about.parts : []) {
    find("compare").append(new Option(`only ${title(part.name)}: any other may differ`, `part=${part.name}`));
  }
  if (about.parts.length > 1) find("compare").append(new Option("by my own weights", "weights"));
  about.parts.forEach((part, number) => find("weights").append(...weight(part, number)));
}

export function title(name) {
  return name.replace(/^part(\d+)$/, "part $1");
}

function weight(part, number) {
  const label = document.createElement("label");
  label.htmlFor = `weight${number}`;
  label.textContent = title(part.name);
  const input = Object.assign(document.createElement("input"), { type: "range", id: `weight${number}` });
  Object.assign(input, { min: 0, max: 9, step: 1, value: 1 });
  const output = document.createElement("output");
  output.textContent = "1";
  input.addEventListener("input", () => (output.textContent = input.value));
  return [label, input, output];
}

// The query string for the values of the form.
export function options() {
  const wanted = new URLSearchParams({ k: find("k").value });
  const compare = find("compare").value;
  if (compare.startsWith("part=")) wanted.set("part", compare.slice(5));
  if (compare === "weights") {
    wanted.set("weights", [...find("weights").querySelectorAll("input")].map((i) => i.value).join(","));
  }
  return wanted;
}

// Control characters, controls of the text's direction, surrogates that are no part of a pair.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(char) {
  if (SHORT[char]) return SHORT[char];
  const code = char.charCodeAt(0);
  const byte = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code; // of a name that is not UTF-8
  return byte < 0x100 ? `\\x${byte.toString(16).padStart(2, "0")}` : `\\u${byte.toString(16)}`;
}

// Any name as one line of at most `longest` characters.
export function printable(name, longest = 80) {
  const shown = name.replace(HIDDEN, escaped);
  if (shown.length <= longest) return shown;
  const characters = Array.from(shown);
  const half = Math.floor((longest - 1) / 2);
  if (characters.length <= longest) return shown;
  return `${characters.slice(0, half).join("")}…${characters.slice(-half).join("")}`;
}

function named(picture, longest) {
  const name = printable(picture.name, longest);
  return picture.label ? `${printable(picture.label, longest)}, ${name}` : name;
}

// An element whose text has a direction of its own, whichever that of its surroundings is.
export function isolated(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

// One entry of the list: a gallery image and, if it is a hit, its distances.
// weights: each part's weight.
export function entry(picture, rank, weights, about, onSearch, onMaps) {
  const item = find("hit").content.firstElementChild.cloneNode(true);
  const [button, image] = [item.querySelector(".picture"), item.querySelector("img")];
  image.src = picture.image;
  image.alt = named(picture);
  image.addEventListener("error", () => (image.alt = `${named(picture)} (cannot be shown)`));
  button.title = "Search by this image";
  button.setAttribute("aria-label", `Search by ${named(picture)}`);
  button.addEventListener("click", () => onSearch(picture));
  const name = item.querySelector(".name");
  const strong = document.createElement("b");
  strong.append(isolated(printable(picture.label)));
  name.append(strong, picture.label ? " " : "", isolated(printable(picture.name)));
  name.title = named(picture, 500);
  const hit = rank !== null;
  item.querySelector(".distance").hidden = item.querySelector(".parts").hidden = !hit;
  if (hit) {
    item.querySelector(".rank").hidden = false;
    item.querySelector(".rank").textContent = rank;
    distances(item, picture, weights, about);
  }
  const [show, maps] = [item.querySelector(".show-maps"), item.querySelector(".maps")];
  show.hidden = !about.has_maps || !hit;
  show.setAttribute("aria-label", `Attention maps over ${named(picture)}`);
  show.addEventListener("click", () => onMaps(show, maps, image, picture));
  return item;
}

function distances(item, hit, weights, about) {
  const line = item.querySelector(".distance");
  const strong = document.createElement("b");
  strong.textContent = hit.distance;
  line.append(strong, ` of ${about.bits} bits differ`);
  if (hit.score !== hit.distance) line.append(`, counted as ${hit.score}`);
  if (about.parts.length < 2) return;
  about.parts.forEach((part, number) => {
    const term = document.createElement("dt");
    term.textContent = title(part.name);
    const middle = document.createElement("dd");
    middle.setAttribute("aria-hidden", "true");
    const bar = document.createElement("span");
    bar.className = `bar part${number ? ((number - 1) % 4) + 1 : 0}`;
    const fill = document.createElement("i");
    fill.style.width = `${(100 * hit.by_part[number]) / part.bits}%`;
    bar.append(fill);
    middle.append(bar);
    const count = document.createElement("dd");
    count.className = "count";
    count.textContent = `${hit.by_part[number]}/${part.bits}`;
    for (const cell of [term, middle, count]) {
      cell.classList.toggle("off", weights[number] === 0);
      item.querySelector(".parts").append(cell);
    }
  });
}
