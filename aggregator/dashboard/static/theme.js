// Light or dark before anything is drawn: this one file is loaded without waiting, so that no page flashes.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off: the system's choice then
    }
  };
  const apply = () => {
    const wanted = chosen();
    const theme = wanted === "light" || wanted === "dark" ? wanted : system.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    document.documentElement.dispatchEvent(new CustomEvent("theme", { detail: theme }));
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply); // the other tabs follow
  window.flexpactTheme = (theme) => {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      document.documentElement.dataset.theme = theme;
      return;
    }
    apply();
  };
})();
