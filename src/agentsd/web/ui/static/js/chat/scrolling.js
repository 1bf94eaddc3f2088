// The page follows new text unless the reader scrolled up.

const NEAR = 48;

/** `follow()` after anything was added; `toEnd()` to go there in any case. `button` leads back down. */
export function scrolling(button) {
  const page = document.scrollingElement;
  let following = true;
  let before = page.scrollTop;
  const rest = () => page.scrollHeight - page.clientHeight - page.scrollTop;
  const show = () => { button.hidden = following || rest() < NEAR; };

  addEventListener("scroll", () => {
    if (rest() < NEAR) following = true;
    else if (page.scrollTop < before) following = false;
    before = page.scrollTop;
    show();
  }, { passive: true });

  function follow() {
    if (following) page.scrollTop = page.scrollHeight;
    show();
  }

  function toEnd() {
    following = true;
    follow();
  }

  button.addEventListener("click", toEnd);
  return { follow, toEnd };
}

/** On a phone the keyboard covers the end of the page: what sticks there is lifted above it. */
export function aboveKeyboard(element) {
  const seen = window.visualViewport;
  if (!seen) return;
  const lift = () => {
    element.style.bottom = `${Math.max(0, Math.round(innerHeight - seen.height - seen.offsetTop))}px`;
  };
  seen.addEventListener("resize", lift);
  seen.addEventListener("scroll", lift);
}
