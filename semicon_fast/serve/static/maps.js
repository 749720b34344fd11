// Attention maps drawn over an image: grey for low attention, orange for high.

const SIDE = 240;
const WHERE = ["upper left", "top", "upper right", "left", "centre", "right", "lower left", "bottom", "lower right"];

function heat(values, height, width) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  values.forEach((v, i) => pixels.data.set([255, 90 + 150 * v, 40 * v, 225 * v], 4 * i));
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function place(values, height, width) {
  const best = values.indexOf(Math.max(...values));
  const row = Math.floor((3 * (Math.floor(best / width) + 0.5)) / height);
  const column = Math.floor((3 * ((best % width) + 0.5)) / width);
  return WHERE[3 * row + column];
}

function tile(image, maps, number) {
  const { values, height, width, box, parts, peaks } = maps;
  const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.filter = "grayscale(1) brightness(.8)";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.filter = "none";
  const [left, top, wide, high] = box;
  const area = [left * canvas.width, top * canvas.height, wide * canvas.width, high * canvas.height];
  context.imageSmoothingQuality = "high";
  context.drawImage(heat(values[number], height, width), ...area);
  if (wide < 0.995 || high < 0.995) {
    context.strokeStyle = "#ffffffb0";
    context.strokeRect(...area);
  }
  const empty = !(peaks[number] > 0);
  canvas.setAttribute("role", "img");
  const seen = empty ? "attends to nothing" : `attends most to the ${place(values[number], height, width)}`;
  canvas.setAttribute("aria-label", `Map M${number + 1}, of ${parts[number]}: ${seen}`);
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = `M${number + 1}${empty ? " (empty)" : ""}`;
  figure.append(canvas, caption);
  return figure;
}

// Fills `target` with one tile per map; an image the browser cannot decode gives a grey background.
export async function draw(target, image, maps) {
  let shown = image;
  try {
    await image.decode();
  } catch {
    shown = document.createElement("canvas");
    shown.width = shown.height = shown.naturalWidth = shown.naturalHeight = SIDE;
  }
  target.replaceChildren(...maps.values.map((_, number) => tile(shown, maps, number)));
}
