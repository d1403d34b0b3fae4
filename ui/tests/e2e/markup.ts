// A hundred texts that would do something if a page took them for markup: what sets `owned`
// was run, what makes an element was parsed.

const RUN = "globalThis.owned=1";
const VECTORS = [
  `<script>${RUN}</script>`,
  `<img src=x onerror="${RUN}">`,
  `<svg onload="${RUN}">`,
  `<svg><script>${RUN}</script></svg>`,
  `<iframe srcdoc="<script>parent.owned=1</script>">`,
  `<iframe src="javascript:parent.owned=1">`,
  `<a href="javascript:${RUN}" autofocus onfocus="${RUN}">x</a>`,
  `<body onload="${RUN}">`,
  `<details open ontoggle="${RUN}">x</details>`,
  `<video><source onerror="${RUN}"></video>`,
  `<audio src=x onerror="${RUN}">`,
  `<input autofocus onfocus="${RUN}">`,
  `<marquee onstart="${RUN}">x</marquee>`,
  `<math><mtext><table><mglyph><style><img src=x onerror="${RUN}">`,
  `<template><script>${RUN}</script></template>`,
  `<object data="javascript:${RUN}"></object>`,
  `<embed src="javascript:${RUN}">`,
  `<form action="javascript:${RUN}"><button>x</button></form>`,
  `<style>@import "javascript:${RUN}";</style>`,
  `<meta http-equiv="refresh" content="0;url=javascript:${RUN}">`,
];
const AROUND = [
  (text: string) => text,
  (text: string) => `"><!--${text}`,
  (text: string) => `'}{@html ${JSON.stringify(text)}}`,
  (text: string) => `</p></div></script>${text}`,
  (text: string) => `\u202e${text.toUpperCase().replaceAll("GLOBALTHIS.OWNED", "globalThis.owned")}\u0000`,
];

export const MARKUP: string[] = AROUND.flatMap((around) => VECTORS.map(around));
