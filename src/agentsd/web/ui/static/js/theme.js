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
})();
