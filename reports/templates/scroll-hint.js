/* A box that is cut off at its side says so, and can be scrolled with the keyboard. */
function hintScrolling(root = document) {
  for (const box of root.querySelectorAll(".scroll")) {
    const cut = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("cut", cut);
    if (cut) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", "Scrolls sideways");
    }
    let hint = box.previousElementSibling;
    if (!hint?.classList.contains("hint")) {
      hint = document.createElement("p");
      hint.className = "hint";
      hint.setAttribute("aria-hidden", "true");
      hint.textContent = "wider than the page: scroll sideways \u2192";
      box.before(hint);
    }
    hint.hidden = !cut;
  }
}
window.addEventListener("load", () => hintScrolling());
window.addEventListener("resize", () => hintScrolling());
