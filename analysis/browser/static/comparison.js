// Two studies' AUROCs against each other; a click leads to the concept's line in the table.
(function () {
  "use strict";

  document.addEventListener("DOMContentLoaded", function () {
    var shared = window.saesChart, given = shared.data("comparison-data"), target = document.getElementById("scatter");
    if (!given || !target || !window.echarts) return;
    var rows = given.matched.filter(function (row) { return row.auroc !== null && row.other_auroc !== null; });
    var least = Math.floor(10 * rows.reduce(function (low, row) { return Math.min(low, row.auroc, row.other_auroc); }, 0.9)) / 10;
    var narrow = target.clientWidth < 600;

    function about(point) {
      var row = point.data.row;
      return row && shared.note([
        row.concept,
        given.own + ": " + row.status + ", " + shared.interval(row.auroc, row.low, row.high) + ", n = " + row.n,
        given.other + ": " + row.other_status + ", " + shared.interval(row.other_auroc, row.other_low, row.other_high) + ", n = " + row.other_n,
        row.cosine === null ? "no cosine" : "cosine " + shared.number(row.cosine)
      ]);
    }

    var chart = shared.draw(target, function () {
      var scale = { min: least, max: 1, scale: false };
      return {
        grid: { left: narrow ? 40 : 52, right: narrow ? 24 : 100, top: 34, bottom: 46 },
        xAxis: shared.axis("AUROC in " + given.own, Object.assign({ nameLocation: "middle", nameGap: 28 }, scale)),
        yAxis: shared.axis("AUROC in " + given.other, Object.assign({ nameTextStyle: { color: shared.colour("--soft"), align: "left" } }, scale)),
        tooltip: shared.tooltip(about),
        series: [{
          type: "scatter", cursor: "pointer",
          data: rows.map(function (row) {
            var colour = shared.statusColour(row.status);
            return {
              value: [row.auroc, row.other_auroc], row: row, symbol: shared.symbols[row.status] || "circle", symbolSize: 10,
              itemStyle: { color: row.status === "rejected" ? "none" : colour, borderColor: colour, borderWidth: 1.2, opacity: 0.7 }
            };
          }),
          label: {
            minMargin: 5, show: !narrow, position: "right", fontSize: 11.5, color: shared.colour("--ink"), textBorderColor: shared.colour("--paper"),
            textBorderWidth: 3, formatter: function (point) { return point.data.row.concept; }
          },
          labelLayout: { hideOverlap: true },
          markLine: {
            silent: true, symbol: "none", label: { show: false }, lineStyle: { color: shared.colour("--band"), type: "dashed" },
            data: [[{ coord: [least, least] }, { coord: [1, 1] }]]
          }
        }]
      };
    });
    chart.on("click", function (point) {
      var line = point.data && point.data.row && document.getElementById("c-" + encodeURIComponent(point.data.row.concept));
      if (!line) return;
      line.scrollIntoView({ block: "center" });
      line.querySelector("a").focus({ preventScroll: true });
    });
  });
})();
