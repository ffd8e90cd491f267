// Runs before the first paint, so that a chosen theme does not flash. A classic script: a module would come too late.
(() => {
  const KEY = "pairscore-theme";
  const CHOICES = ["system", "light", "dark"];
  const WORDS = { system: "system", light: "light", dark: "dark" };

  const stored = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return CHOICES.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  };

  const apply = (choice) => {
    if (choice === "system") {
      document.documentElement.removeAttribute("data-theme");
    } else {
      document.documentElement.setAttribute("data-theme", choice);
    }
  };

  const keep = (choice) => {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Then it holds until the page is left.
    }
  };

  let chosen = stored();
  apply(chosen);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme-button");
    const show = () => {
      button.textContent = `Theme: ${WORDS[chosen]}`;
    };
    show();
    button.addEventListener("click", () => {
      chosen = CHOICES[(CHOICES.indexOf(chosen) + 1) % CHOICES.length];
      apply(chosen);
      keep(chosen);
      show();
    });
  });
})();
