// Hands a file to the person: by the browser's own download, or by the system's dialog of
// the desktop app. Deliberately absent: any place of its own choosing.

import type { Native } from "../backend";

let shell: Native | null = null;

/** From here on files go through the shell. */
export function saveWith(native: Native) {
  shell = native;
}

/** Saves; says whether it did, which the person decides where there is a dialog. */
export async function save(content: Blob | string, name: string, mediaType = "text/plain"): Promise<boolean> {
  if (shell) {
    const text = typeof content === "string" ? content : await content.text();
    return (await shell.call("save_file", { name, text })) !== null;
  }
  const blob = typeof content === "string" ? new Blob([content], { type: mediaType }) : content;
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  return true;
}
