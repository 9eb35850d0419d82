// The remembered colours, before anything is painted. The switch itself is in app.js.
(function () {
  "use strict";
  try {
    var kept = window.localStorage.getItem("saes-theme");
    if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  } catch (error) { /* storage may be forbidden: then the system's colours stay */ }
})();
