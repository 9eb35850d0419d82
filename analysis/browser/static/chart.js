// What the charts share: ECharts as SVG in the page's colours, drawn anew when those change, and notes on hover.
// Tooltips are built of elements, never of text taken for HTML; and the page's policy allows no style in markup.
(function () {
  "use strict";

  var SYMBOLS = {
    validated: "circle", held: "emptyCircle", candidate: "emptyCircle", "no effect": "rect", unspecific: "triangle",
    "breaks fluency": "diamond", rejected: "path://M0,0L8,8M8,0L0,8"
  };
  var COLOURS = {
    validated: "--good", held: "--own", candidate: "--soft", "no effect": "--own", unspecific: "--warm",
    "breaks fluency": "--plum", rejected: "--warm"
  };

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  function element(kind, text, className) {
    var made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // The lines of a tooltip, the first one strong.
  function note(lines) {
    var box = element("div", undefined, "tip");
    lines.forEach(function (line, place) { box.appendChild(element(place ? "div" : "b", line)); });
    return box;
  }

  // Draws make() into the element, again whenever the colours change; returns the chart.
  function draw(target, make) {
    var chart = window.echarts.init(target, null, { renderer: "svg" });
    var still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    function again() {
      chart.setOption(Object.assign({ animation: !still, animationDuration: 250, textStyle: { color: colour("--soft"), fontFamily: "inherit" } }, make()), true);
    }
    again();
    document.addEventListener("saes:theme", again);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    window.addEventListener("resize", function () { chart.resize(); });
    return chart;
  }

  function axis(name, more) {
    return Object.assign({
      type: "value", name: name, nameLocation: "end", nameTextStyle: { color: colour("--soft") }, scale: true,
      axisLine: { lineStyle: { color: colour("--rule") } }, axisLabel: { color: colour("--soft") },
      splitLine: { lineStyle: { color: colour("--grid") } }
    }, more || {});
  }

  function tooltip(formatter) {
    return {
      trigger: "item", confine: true, formatter: formatter, backgroundColor: colour("--card"), borderColor: colour("--rule"),
      textStyle: { color: colour("--ink"), fontSize: 13 }, extraCssText: "max-width: 320px; white-space: normal;"
    };
  }

  function data(name) {
    var block = document.getElementById(name);
    return block ? JSON.parse(block.textContent) : null;
  }

  function number(value, digits) { return value === null || value === undefined ? "–" : value.toFixed(digits === undefined ? 2 : digits); }

  function interval(value, low, high) {
    if (value === null || value === undefined) return "–";
    return number(value) + (low === null || low === undefined ? "" : " [" + number(low) + ", " + number(high) + "]");
  }

  window.saesChart = {
    draw: draw, data: data, colour: colour, note: note, axis: axis, tooltip: tooltip, number: number, interval: interval,
    symbols: SYMBOLS, statusColour: function (status) { return colour(COLOURS[status] || "--soft"); }
  };
})();
