// Steps through an episode attempt by attempt. Without this script all of it is shown.
(function () {
  "use strict";
  document.addEventListener("DOMContentLoaded", function () {
    var bar = document.querySelector(".steps");
    var parts = Array.prototype.slice.call(document.querySelectorAll(".part"));
    if (!bar || parts.length < 2) return;
    var ending = document.getElementById("ending");
    var said = bar.querySelector("[aria-live]");
    var shown = parts.length;

    function show(count) {
      shown = Math.max(1, Math.min(parts.length, count));
      parts.forEach(function (part, at) {
        part.hidden = at >= shown;
        part.classList.toggle("current", at === shown - 1 && shown < parts.length);
      });
      if (ending) ending.hidden = shown < parts.length;
      said.textContent = shown < parts.length
        ? parts[shown - 1].dataset.stepTitle + ", step " + shown + " of " + parts.length
        : "all " + parts.length + " steps";
      bar.querySelector('[data-step="-1"]').disabled = shown === 1;
      bar.querySelector('[data-step="1"]').disabled = shown === parts.length;
    }

    function step(by) {
      show(shown + by);
      history.replaceState(null, "", shown < parts.length ? "#step-" + shown : location.pathname + location.search);
      if (by > 0) parts[shown - 1].scrollIntoView({ block: "nearest" });
    }

    bar.hidden = false;
    bar.addEventListener("click", function (event) {
      var by = event.target.dataset.step;
      if (by === "all") step(parts.length);
      else if (by) step(Number(by));
    });
    document.addEventListener("keydown", function (event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, .scroll, pre")) return;
      if (event.key === "ArrowRight") step(1);
      else if (event.key === "ArrowLeft") step(-1);
    });
    var at = /^#step-(\d+)$/.exec(location.hash);
    show(at ? Number(at[1]) : parts.length);
  });
})();
