// Hands a file to the browser's own download. Deliberately absent: choosing a place.

export function save(content: Blob | string, name: string, mediaType = "text/plain") {
  const blob = typeof content === "string" ? new Blob([content], { type: mediaType }) : content;
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
