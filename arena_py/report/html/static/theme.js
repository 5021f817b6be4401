// Before anything is painted: the theme that the reader chose, and that scripts run at all.
document.documentElement.classList.add("js");
try {
  const chosen = localStorage.getItem("arena-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing follows the system.
}
