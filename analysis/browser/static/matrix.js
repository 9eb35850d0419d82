// Says what stands under the pointer in a picture of the effect matrix.
(function () {
  "use strict";

  function signed(value) { return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2); }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-matrix]").forEach(function (box) {
      var data = JSON.parse(document.getElementById(box.dataset.matrix).textContent);
      var image = box.querySelector("img");
      var says = box.parentElement.querySelector(".matrix-says");
      var still = says.textContent;
      image.addEventListener("mousemove", function (event) {
        var frame = image.getBoundingClientRect();
        var column = Math.floor((event.clientX - frame.left) / frame.width * data.concepts.length);
        var row = Math.floor((event.clientY - frame.top) / frame.height * data.labels.length);
        var value = (data.effects[row] || [])[column];
        if (value === undefined) return;
        says.textContent = data.labels[row] + " on " + data.concepts[column]
          + (data.families[column] ? " (" + data.families[column] + ")" : "") + ": " + (value === null ? "not known" : signed(value));
      });
      image.addEventListener("mouseleave", function () { says.textContent = still; });
    });
  });
})();
