// Renders what arithmatex left as \(...\) and \[...\], with the copy of KaTeX that stands in the site.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".arithmatex")) {
    const text = place.textContent.trim();
    const display = text.startsWith("\\[");
    katex.render(text.slice(2, -2), place, { displayMode: display, throwOnError: false });
  }
});
