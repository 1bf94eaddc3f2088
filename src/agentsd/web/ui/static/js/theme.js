// Before the first paint: the theme that was chosen here, or the system's.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("agentsd.theme"); } catch { return null; }
  };
  const apply = () => {
    const theme = chosen() ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
  };
  dark.addEventListener("change", apply);
  document.addEventListener("agentsd:theme", apply);
  apply();
  // A form whose scripts have not come is inert. One that is sent nevertheless would end the page: CSP forbids that.
  document.addEventListener("submit", (event) => event.preventDefault(), true);
  addEventListener("error", ({ target }) => {
    if (target instanceof HTMLScriptElement) document.documentElement.dataset.unloaded = "";
  }, true);
})();
