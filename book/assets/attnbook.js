// Small repairs of the theme's pages, for keyboards and screen readers. The figures that move bring
// their own script.

// The triangles that open a chapter's pages in the table of contents have no name of their own.
function nameToggles() {
  for (const summary of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const link = summary.closest("li")?.querySelector("a");
    if (link) summary.setAttribute("aria-label", `Pages of ${link.textContent.trim()}`);
  }
}

// What scrolls can be reached, and so scrolled, from the keyboard.
function reachScrolling() {
  for (const box of document.querySelectorAll(".bd-article :is(div, pre, mjx-container)")) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    const high = box.scrollHeight > box.clientHeight + 1;
    const style = wide || high ? getComputedStyle(box) : {};
    const scrolls =
      (wide && ["auto", "scroll"].includes(style.overflowX)) ||
      (high && ["auto", "scroll"].includes(style.overflowY));
    // The theme has looked once, and before the fonts came; -1 is what it gives to what did not scroll.
    if (scrolls && [null, "-1"].includes(box.getAttribute("tabindex"))) {
      box.tabIndex = 0;
      box.dataset.reach = "";
    } else if (!scrolls && "reach" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.reach;
    }
  }
}

// The search looks for a function's entry by its anchor as if that were a CSS selector, in which a
// dot begins a class.
function findEntries() {
  if (typeof Search === "undefined") return;
  const toText = Search.htmlToText;
  Search.htmlToText = (html, anchor) =>
    toText(html, anchor?.startsWith("#") ? `#${CSS.escape(anchor.slice(1))}` : anchor);
}

async function start() {
  nameToggles();
  await window.MathJax?.startup?.promise;
  reachScrolling();
  const article = document.querySelector(".bd-article") ?? document.body;
  new ResizeObserver(reachScrolling).observe(article);
  article.addEventListener("toggle", reachScrolling, true);
}

findEntries();
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
