// The page: browse the gallery, search by an uploaded or a gallery image, show attention maps.

import { Failure, get, send } from "/api.js";
import { draw } from "/maps.js";
import { describe, entry, isolated, options, printable } from "/view.js";

const find = (id) => document.getElementById(id);
const PAGE = 24;
let about = null;
let query = null; // { file } or { picture }
let start = 0;
let current = new AbortController();

function tell(status, problem = "") {
  find("status").textContent = status;
  find("problem").textContent = problem;
  find("problem").hidden = !problem;
}

// Runs one task at a time; a new one aborts the previous one.
async function run(status, task) {
  current.abort();
  const mine = (current = new AbortController());
  tell(status);
  document.body.classList.add("busy");
  try {
    await task(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    find("hits").replaceChildren();
    find("pages").hidden = true;
    tell("", error instanceof Failure ? error.message : `Error in this page: ${error.message}.`);
  } finally {
    if (mine === current) document.body.classList.remove("busy");
  }
}

// weights: null for a page of the gallery, else each part's weight in this search.
function list(title, pictures, weights) {
  find("results").textContent = title;
  const rank = (number) => (weights ? number + 1 : null);
  find("hits").replaceChildren(
    ...pictures.map((picture, number) => entry(picture, rank(number), weights, about, ask, maps)),
  );
}

function browse() {
  query = null;
  show();
  return run("", async (signal) => {
    const found = await get(`/api/images?start=${start}&count=${PAGE}`, signal);
    list("Gallery", found.images, null);
    const last = Math.min(start + PAGE, found.count);
    find("pages").hidden = found.count <= PAGE;
    find("page").textContent = `${start + 1} to ${last} of ${found.count.toLocaleString("en")}`;
    find("back").disabled = start === 0;
    find("next").disabled = last === found.count;
    tell(found.count ? "Choose an image to find its nearest neighbours." : "The gallery is empty.");
  });
}

function search() {
  return run("Searching.", async (signal) => {
    const wanted = options();
    const found = query.file
      ? await send(`/api/search?${wanted}`, query.file, signal)
      : await get(`/api/images/${query.picture.number}/neighbours?${wanted}`, signal);
    list("Nearest images", found.hits, found.weights);
    find("pages").hidden = true;
    const count = found.hits.length;
    const low = find("results").getBoundingClientRect().top > 0.8 * window.innerHeight;
    if (low) find("results").scrollIntoView();
    tell(count ? `${count} hits, the nearest first.` : "The gallery has no other image.");
  });
}

// The query image and its buttons.
function show() {
  find("query").hidden = find("browse").hidden = query === null;
  fold(find("query-maps"), find("query-tiles"), "Show attention maps");
  if (query === null) return;
  const image = find("query-image");
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  const name = printable(query.file ? query.file.name || "pasted image" : query.picture.name);
  image.src = query.file ? URL.createObjectURL(query.file) : `${query.picture.image}?side=1024`;
  image.alt = `Query: ${name}`;
  const number = query.file ? "" : ` (image ${query.picture.number} of the gallery)`;
  find("query-name").replaceChildren(isolated(name), number);
}

function ask(picture) {
  query = { picture };
  history.pushState({ picture }, "", `#image=${picture.number}`);
  show();
  find("results").focus();
  return search();
}

function take(file) {
  if (about.network === null) return tell("", "This server has no model, so it cannot encode new images.");
  const refused = refusal(file);
  if (refused) return tell("", refused);
  query = { file };
  history.pushState(null, "", "#");
  show();
  return search();
}

function refusal(file) {
  const name = printable(file.name);
  if (file.type && !file.type.startsWith("image/")) return `${name} is not an image.`;
  if (file.size === 0) return `${name} is empty.`;
  if (file.size <= about.max_bytes) return "";
  const megabytes = (file.size / 2 ** 20).toFixed(1);
  return `${name} has ${megabytes} MB; at most ${about.max_bytes / 2 ** 20} MB can be sent.`;
}

function fold(button, target, text) {
  target.hidden = true;
  target.replaceChildren();
  button.textContent = text;
  button.setAttribute("aria-expanded", "false");
}

async function maps(button, target, image, picture, text = "Maps") {
  if (!target.hidden) return fold(button, target, text);
  button.disabled = true;
  target.hidden = false;
  target.textContent = "Looking.";
  try {
    const found = picture ? await get(`/api/images/${picture.number}/maps`) : await send("/api/maps", query.file);
    await draw(target, image, found);
    button.textContent = "Hide maps";
    button.setAttribute("aria-expanded", "true");
  } catch (error) {
    const message = document.createElement("p");
    message.setAttribute("role", "alert");
    message.textContent = error.message;
    target.replaceChildren(message);
  } finally {
    button.disabled = false;
  }
}

function listen() {
  find("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) take(file);
    event.target.value = "";
  });
  const over = (on) => find("drop").classList.toggle("over", on);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
    else tell("", "This is not a file. Save the image first, then drop it.");
  });
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && take(event.clipboardData.files[0]));
  find("options").addEventListener("change", () => {
    find("weights").hidden = find("compare").value !== "weights";
    if (query) search();
  });
  find("options").addEventListener("submit", (event) => event.preventDefault());
  find("browse").addEventListener("click", () => {
    history.pushState(null, "", "#");
    browse();
  });
  find("query-maps").addEventListener("click", () =>
    maps(find("query-maps"), find("query-tiles"), find("query-image"), query.picture, "Show attention maps"),
  );
  for (const [id, step] of [["back", -PAGE], ["next", PAGE]]) {
    find(id).addEventListener("click", () => {
      start += step;
      browse();
      find("results").focus();
    });
  }
  window.addEventListener("popstate", open);
}

// Shows what the URL asks for: a search by image number, or the gallery.
async function open() {
  const number = /^#image=(\d+)$/.exec(location.hash)?.[1];
  if (number === undefined) return browse();
  return run("", async (signal) => {
    const found = await get(`/api/images?start=${number}&count=1`, signal);
    if (!found.images.length) throw new Failure(`There is no image ${number} in the gallery.`);
    query = { picture: found.images[0] };
    show();
    search();
  });
}

await run("Loading.", async (signal) => {
  about = await get("/api/gallery", signal);
  describe(about);
  listen();
});
if (about) open();
