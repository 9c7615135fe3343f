"use strict";
/* One case in NiiVue. A class is a bit of every voxel, so classes may overlap. */

const HELD = JSON.parse(document.getElementById("case").textContent);
const part = (id) => document.getElementById(id);

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/* A NIfTI-1 file of bytes: the header's fields that a viewer needs, right-anterior-superior axes. */
function nifti(voxels) {
  const file = new Uint8Array(352 + voxels.length), head = new DataView(file.buffer);
  head.setInt32(0, 348, true);
  [3, ...HELD.shape, 1, 1, 1, 1].forEach((n, i) => head.setInt16(40 + 2 * i, n, true));
  head.setInt16(70, 2, true);
  head.setInt16(72, 8, true);
  [1, ...HELD.spacing].forEach((mm, i) => head.setFloat32(76 + 4 * i, mm, true));
  head.setFloat32(108, 352, true);
  head.setFloat32(112, 1, true);
  file[123] = 2;
  head.setInt16(254, 1, true);
  HELD.spacing.forEach((mm, axis) => head.setFloat32(280 + 20 * axis, mm, true));
  file.set([0x6e, 0x2b, 0x31, 0], 344);
  file.set(voxels, 352);
  return file.buffer;
}

const ofClass = (bits, index) => Uint8Array.from(bits, (value) => (value >> index) & 1);

function colourMap(colour) {
  const channel = (at) => [0, parseInt(colour.slice(at, at + 2), 16)];
  return { R: channel(1), G: channel(3), B: channel(5), A: [0, 255], I: [0, 255] };
}

async function start() {
  const { Niivue, NVImage, SHOW_RENDER } = window.niivue;
  const viewer = new Niivue({ isRadiologicalConvention: true, dragAndDropEnabled: false, logLevel: "error",
    multiplanarShowRender: SHOW_RENDER.ALWAYS, crosshairColor: [1, 1, 1, 0.5], crosshairWidth: 0.2 });
  await viewer.attachToCanvas(part("viewer"));
  if (!viewer.gl) throw new Error("it needs WebGL 2");
  for (const [name, colour] of Object.entries(HELD.colours)) {
    viewer.addColormap(name, colourMap(colour));
    part(name).parentNode.querySelector(".key").style.borderColor = colour;
  }
  const scan = new Uint8Array(await unpacked(HELD.scan));
  const reference = new Uint16Array(await unpacked(HELD.reference));
  const models = await Promise.all(HELD.models.map(async ({ bits }) => new Uint16Array(await unpacked(bits))));
  const empty = new Uint16Array(reference.length);
  const add = async (voxels, name, colormap, top) => viewer.addVolume(await NVImage.loadFromUrl({
    url: `${name}.nii`, buffer: nifti(voxels), name: `${name}.nii`, colormap, cal_min: 0, cal_max: top, trustCalMinMax: true }));
  await add(scan, "scan", "gray", 255);
  await add(ofClass(reference, 0), "reference", "reference", 1);
  await add(ofClass(models[0] ?? empty, 0), "prediction", "prediction", 1);
  HELD.classes.forEach((name, i) => part("class").append(new Option(name, i)));
  HELD.models.forEach(({ title }, i) => part("model").append(new Option(title, i)));
  part("model").parentNode.hidden = !models.length;
  /* The cross in the middle of a class, as shares of the volume. */
  const centre = (index) => {
    const [nx, ny, nz] = HELD.shape, sum = [0, 0, 0];
    let n = 0;
    reference.forEach((value, i) => {
      if (!((value >> index) & 1)) return;
      n += 1;
      sum[0] += i % nx; sum[1] += Math.floor(i / nx) % ny; sum[2] += Math.floor(i / (nx * ny));
    });
    return n ? [nx, ny, nz].map((size, axis) => (sum[axis] / n + 0.5) / size) : null;
  };
  let last = -1;
  const shown = (id) => part(id).checked;
  const draw = () => {
    const index = Number(part("class").value), share = Number(part("opacity").value) / 100;
    viewer.volumes[1].img.set(ofClass(reference, index));
    viewer.volumes[2].img.set(ofClass(models[Number(part("model").value)] ?? empty, index));
    viewer.setOpacity(0, shown("scan") ? 1 : 0);
    viewer.setOpacity(1, shown("reference") ? share : 0);
    viewer.setOpacity(2, shown("prediction") ? share : 0);
    if (index !== last) viewer.scene.crosshairPos = centre(index) ?? viewer.scene.crosshairPos;
    last = index;
    viewer.updateGLVolume();
    const n = (bits) => bits.reduce((sum, value) => sum + ((value >> index) & 1), 0);
    const litres = (bits) => ((n(bits) * HELD.spacing.reduce((a, b) => a * b)) / 1000).toPrecision(3);
    part("state").textContent = `${HELD.classes[index]}: reference ${litres(reference)} ml`
      + (models.length ? `, ${HELD.models[Number(part("model").value)].title} ${litres(models[Number(part("model").value)])} ml` : "")
      + " (of the voxels shown).";
  };
  for (const control of part("controls").elements) control.addEventListener("input", draw);
  draw();
}
/* NiiVue comes from the file beside this page, after the page itself. */
window.addEventListener("DOMContentLoaded", () => start().catch((error) => {
  part("state").textContent = `The viewer cannot be shown: ${error.message}. The gallery has pictures of the case.`;
}));
