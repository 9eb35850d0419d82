// The map of the labels: hover says what a mark is, a click opens it, a marked region leads to the table of its features.
(function () {
  "use strict";

  var ORDER = ["rejected", "candidate", "no effect", "unspecific", "breaks fluency", "held", "validated"];

  document.addEventListener("DOMContentLoaded", function () {
    var shared = window.saesChart, given = shared.data("map-data"), target = document.getElementById("map");
    if (!given || !target || !window.echarts) return;
    var marks = given.marks.map(function (mark, place) { return Object.assign({ href: given.hrefs[place] }, mark); });
    var narrow = target.clientWidth < 600;

    function size(mark) { return mark.effect === null ? (narrow ? 5 : 7) : 8 + (narrow ? 14 : 22) * Math.max(0, Math.min(1, mark.effect)); }

    function about(point) {
      var mark = point.data.mark;
      return shared.note([
        mark.concept, mark.status + (mark.family ? ", family " + mark.family : ""),
        "AUROC " + shared.interval(mark.auroc, mark.auroc_low, mark.auroc_high) + ", n = " + mark.n_texts,
        mark.effect === null ? "not clamped" : "clamp effect " + shared.interval(mark.effect, mark.effect_low, mark.effect_high) + ", n = " + mark.n_prompts,
        (mark.latents.length > 1 ? "latents " : "latent ") + mark.latents.join(", ")
      ]);
    }

    function options() {
      return {
        grid: { left: narrow ? 34 : 46, right: narrow ? 12 : 24, top: 34, bottom: 46 },
        xAxis: shared.axis("pleasant (valence) →", { nameLocation: "middle", nameGap: 26 }),
        yAxis: shared.axis("↑ aroused (arousal)", { nameTextStyle: { color: shared.colour("--soft"), align: "left" } }),
        tooltip: shared.tooltip(about),
        brush: {
          xAxisIndex: 0, yAxisIndex: 0, brushType: "rect", brushMode: "single", transformable: true,
          brushStyle: { color: shared.colour("--own"), opacity: 0.12, borderWidth: 1, borderColor: shared.colour("--own") },
          outOfBrush: { colorAlpha: 0.25 }
        },
        toolbox: { show: false },
        series: ORDER.map(function (status, rank) {
          var hollow = status === "held" || status === "candidate";
          return {
            name: status, type: "scatter", symbol: shared.symbols[status], z: 2 + rank, cursor: "pointer",
            data: marks.filter(function (mark) { return mark.status === status; }).map(function (mark) {
              return { value: [mark.valence, mark.arousal], symbolSize: size(mark), mark: mark,
                label: { position: narrow && mark.valence > 6.5 ? "left" : "right" } };
            }),
            itemStyle: {
              color: status === "rejected" ? "none" : shared.statusColour(status),
              opacity: status === "rejected" ? 0.6 : 0.85,
              borderColor: shared.statusColour(status), borderWidth: status === "rejected" ? 1.2 : hollow ? 1.6 : 1
            },
            label: {
              show: status !== "rejected" || marks.length <= 60, position: "right", distance: 4, minMargin: 5, fontSize: 11.5, opacity: 1, color: shared.colour("--ink"),
              textBorderColor: shared.colour("--paper"), textBorderWidth: 3,
              formatter: function (point) { return point.data.mark.concept; }
            },
            labelLayout: { hideOverlap: true },
            emphasis: { scale: 1.25, label: { show: true } }
          };
        })
      };
    }

    var chart = shared.draw(target, options);
    chart.on("click", function (point) { if (point.data && point.data.mark) window.location.href = point.data.mark.href; });

    var button = document.getElementById("brush"), said = document.getElementById("brushed");
    button.hidden = false;

    function brushing(on) {
      button.setAttribute("aria-pressed", String(on));
      button.textContent = on ? "Stop marking" : "Mark a region";
      chart.dispatchAction({ type: "takeGlobalCursor", key: "brush", brushOption: { brushType: on ? "rect" : false, brushMode: "single" } });
      if (!on) { chart.dispatchAction({ type: "brush", areas: [] }); said.textContent = ""; }
      else said.textContent = "Drag over the map.";
    }

    button.addEventListener("click", function () { brushing(button.getAttribute("aria-pressed") !== "true"); });

    chart.on("brushEnd", function (event) {
      var area = event.areas[0];
      if (!area) { said.textContent = ""; return; }
      var x = area.coordRange[0], y = area.coordRange[1];
      var within = marks.filter(function (mark) {
        return mark.valence >= x[0] && mark.valence <= x[1] && mark.arousal >= y[0] && mark.arousal <= y[1];
      });
      var query = new URLSearchParams({
        valence_from: x[0].toFixed(3), valence_to: x[1].toFixed(3), arousal_from: y[0].toFixed(3), arousal_to: y[1].toFixed(3)
      });
      said.textContent = within.length + (within.length === 1 ? " label: " : " labels: ");
      if (!within.length) return;
      var link = document.createElement("a");
      link.href = said.dataset.features + "?" + query;
      link.textContent = "show their features in the table";
      said.appendChild(link);
    });
  });
})();
