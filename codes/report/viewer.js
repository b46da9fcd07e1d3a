"use strict";
// The viewer: two versions of an image with a divider between them, zoomed and moved together.

const pictures = JSON.parse(byId("pictures").textContent);
const stage = byId("stage");
const MAX_ZOOM = 16;
const SIDES = ["left", "right"];
const layers = Object.fromEntries(SIDES.map((side) => [side, byId(`${side}-layer`)]));
// x, y: the image's offset as a fraction of the stage's size, from 0 to 1 - zoom.
const view = { set: null, image: 0, zoom: 1, x: 0, y: 0, divider: 50 };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Show an image of the list, by its index. */
function chooseImage(index) {
  const image = data.images[index];
  if (!image) return;
  view.image = index;
  if (view.set !== image.set) fillImages(image.set);
  byId("image").value = index;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === data.images.length - 1;
  for (const side of SIDES) {
    for (const option of byId(side).options) {
      const missing = !hasVersion(image, Number(option.value));
      option.textContent = data.versions[option.value].label + (missing ? " (no image)" : "");
    }
  }
  showKernel(image);
  setZoom(1);
  showSides();
  markChosen(index);
}

function fillImages(set) {
  view.set = set;
  byId("set").value = set;
  const ofSet = [...data.images.keys()].filter((i) => data.images[i].set === set);
  byId("image").replaceChildren(...ofSet.map((i) => new Option(data.images[i].name, i)));
}

const previewOf = (image, version) => pictures[image.pictures?.[version]];
const hasVersion = (image, version) => image.links[version] !== null || previewOf(image, version) !== undefined;

function showKernel(image) {
  const [picture, caption] = byId("kernel").children;
  const uri = pictures[image.kernel];
  byId("kernel").hidden = uri === undefined;
  if (uri === undefined) return;
  picture.onload = () => {
    caption.textContent = `kernel, ${picture.naturalWidth} × ${picture.naturalHeight}`;
    picture.alt = `Blur kernel of ${picture.naturalWidth} by ${picture.naturalHeight} pixels`;
  };
  picture.src = uri;
}

function showSides() {
  byId("resolution").textContent = "";
  for (const side of SIDES) showSide(side);
}

/** Put the chosen version into a side, with its scores below. */
function showSide(side) {
  const image = data.images[view.image];
  const version = Number(byId(side).value);
  const { label, method } = data.versions[version];
  const link = image.links[version];
  showPicture(side, image, version, byId("full").checked ? link : null);

  const caption = byId(`${side}-caption`);
  caption.replaceChildren(element("strong", label));
  if (method !== null && image.scores[method]) {
    const [psnr, ssim, seconds] = FIGURES.map((_, which) => format(figure(image, method, which), which));
    caption.append(`${psnr} dB / ${ssim}, ${seconds} s`);
  }
  if (link) caption.append(element("a", "full-size file", { href: link, target: "_blank", rel: "noopener" }));
}

/** Show the file at `url`; if it is null or cannot be loaded, the preview; if there is none, a message. */
function showPicture(side, image, version, url) {
  const [picture, words] = layers[side].children;
  const { label } = data.versions[version];
  const source = url ?? previewOf(image, version);
  picture.hidden = source === undefined;
  words.hidden = !picture.hidden;
  words.textContent = `${label}: no ${hasVersion(image, version) ? "preview in this report" : "image"}`;
  picture.alt = `${label} of ${image.name}`;
  picture.onload = () => imageLoaded(picture, image, url !== null);
  picture.onerror = () => {
    if (url === null) return;
    showPicture(side, image, version, null);
    byId("resolution").textContent = `${label}: the full-size file cannot be shown; is it next to this report?`;
  };
  if (source) picture.src = source;
}

function imageLoaded(picture, image, full) {
  const { naturalWidth: width, naturalHeight: height } = picture;
  const [fullWidth, fullHeight] = image.size ?? [width, height];
  stage.style.aspectRatio = `${fullWidth} / ${fullHeight}`;
  byId("comparison").style.maxWidth = `min(60rem, ${(78 * fullWidth) / fullHeight}vh)`;
  picture.dataset.full = full ? "yes" : "";
  picture.classList.toggle("sharp-pixels", full && pixelsAreLarge(picture));
  if (full || byId("full").checked) return;
  const reduced = width < fullWidth ? `, ${width} × ${height} of ${fullWidth} × ${fullHeight} pixels` : "";
  byId("resolution").textContent = `Previews in this file are lossy${reduced}. The scores are of the full-size images.`;
}

const pixelsAreLarge = (picture) => stage.clientWidth * view.zoom >= 2 * picture.naturalWidth;

function setDivider(percent) {
  view.divider = clamp(percent, 0, 100);
  layers.left.style.clipPath = `inset(0 ${100 - view.divider}% 0 0)`;
  layers.right.style.clipPath = `inset(0 0 0 ${view.divider}%)`;
  byId("divider").style.left = `${view.divider}%`;
  byId("slider").value = view.divider;
  byId("slider").setAttribute("aria-valuetext", `${Math.round(view.divider)} % left image`);
}

/** Zoom about the point (x, y) of the stage, given as fractions of its size. */
function setZoom(zoom, x = 0.5, y = 0.5) {
  const next = clamp(zoom, 1, MAX_ZOOM);
  const factor = next / view.zoom;
  view.zoom = next;
  moveTo(x - (x - view.x) * factor, y - (y - view.y) * factor);
  byId("zoom").textContent = `${next.toFixed(1)}×`;
  byId("out").disabled = byId("fit").disabled = next === 1;
  byId("in").disabled = next === MAX_ZOOM;
  stage.classList.toggle("zoomed", next > 1);
}

function moveTo(x, y) {
  view.x = clamp(x, 1 - view.zoom, 0);
  view.y = clamp(y, 1 - view.zoom, 0);
  for (const side of SIDES) {
    const picture = layers[side].firstElementChild;
    picture.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.zoom})`;
    picture.classList.toggle("sharp-pixels", picture.dataset.full === "yes" && pixelsAreLarge(picture));
  }
}

/** The position of an event on the stage, as fractions of its size. */
function place(event) {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

// One pointer drags the divider, or the image if it is zoomed; two pointers pinch.
const pointers = new Map();
let dragsDivider = false;

stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  pointers.set(event.pointerId, place(event));
  stage.setPointerCapture(event.pointerId);
  dragsDivider = pointers.size === 1 && (view.zoom === 1 || event.target === byId("divider"));
  if (dragsDivider && event.pointerType === "mouse") setDivider(100 * place(event)[0]);
});

stage.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = place(event);
  if (pointers.size === 2) pinch(event.pointerId, before, now);
  else if (dragsDivider) setDivider(100 * now[0]);
  else moveTo(view.x + now[0] - before[0], view.y + now[1] - before[1]);
  pointers.set(event.pointerId, now);
});

function pinch(moving, before, now) {
  const [[, other]] = [...pointers].filter(([id]) => id !== moving);
  const box = stage.getBoundingClientRect();
  const distance = ([x, y]) => Math.hypot((x - other[0]) * box.width, (y - other[1]) * box.height);
  setZoom((view.zoom * distance(now)) / Math.max(distance(before), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

for (const end of ["pointerup", "pointercancel"]) {
  stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
}

stage.addEventListener(
  "wheel",
  (event) => {
    const zoom = clamp(view.zoom * Math.exp(-0.002 * event.deltaY), 1, MAX_ZOOM);
    if (zoom === view.zoom) return; // at either end the page scrolls on
    event.preventDefault();
    setZoom(zoom, ...place(event));
  },
  { passive: false },
);

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const arrow = arrows[event.key];
  if (event.key === "+" || event.key === "=") setZoom(view.zoom * 1.5);
  else if (event.key === "-") setZoom(view.zoom / 1.5);
  else if (event.key === "0") setZoom(1);
  else if (arrow && view.zoom > 1) moveTo(view.x + 0.1 * arrow[0], view.y + 0.1 * arrow[1]);
  else if (arrow?.[0]) setDivider(view.divider - 2 * arrow[0]);
  else return;
  event.preventDefault();
});

byId("in").addEventListener("click", () => setZoom(view.zoom * 1.5));
byId("out").addEventListener("click", () => setZoom(view.zoom / 1.5));
byId("fit").addEventListener("click", () => setZoom(1));
byId("slider").addEventListener("input", (event) => setDivider(Number(event.target.value)));
byId("full").addEventListener("change", showSides);
for (const side of SIDES) byId(side).addEventListener("change", showSides);
byId("image").addEventListener("change", (event) => chooseImage(Number(event.target.value)));
byId("set").addEventListener("change", (event) => {
  chooseImage(data.images.findIndex((image) => image.set === Number(event.target.value)));
});
byId("previous").addEventListener("click", () => chooseImage(view.image - 1));
byId("next").addEventListener("click", () => chooseImage(view.image + 1));

const occupied = new Set(data.images.map((image) => image.set));
data.sets.forEach((name, i) => occupied.has(i) && byId("set").append(new Option(name, i)));
for (const side of SIDES) data.versions.forEach((version, i) => byId(side).append(new Option(version.label, i)));
byId("right").value = Math.max(data.versions.length - 2, 0); // the method of the last row
setDivider(50);
chooseImage(Math.max(data.images.findIndex((image) => image.pictures), 0));
