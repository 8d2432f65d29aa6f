// Shows the values of the day under the pointer, or of the one that the arrow
// keys choose, and marks it in all charts. Without it the titles of the charts
// and the tables have the same values.
"use strict";
(() => {
  const section = document.querySelector(".charts");
  if (!section) return;
  const days = section.dataset.days.split(";").map((day) => day.split(" "));
  const names = ["load", "acute", "chronic", "ratio", "trimp", "trimp-acute", "trimp-chronic", "trimp-ratio", "marks"];
  const values = {};
  for (const element of section.querySelectorAll("[data-value]")) values[element.dataset.value] = element;
  const [year, month, day] = section.dataset.first.split("-").map(Number);
  const dateOf = (index) => {
    const date = new Date(0);
    date.setUTCFullYear(year, month - 1, day + index);
    return date.toISOString().slice(0, 10);
  };

  const cursors = [];
  let chosen = days.length - 1;
  const choose = (index, marked) => {
    chosen = Math.max(0, Math.min(days.length - 1, index));
    const date = dateOf(chosen);
    names.forEach((name, i) => { values[name].textContent = name === "marks" ? days[chosen][i].replaceAll(",", ", ") : days[chosen][i]; });
    values.date.textContent = date;
    section.querySelector(".today").hidden = chosen < days.length - 1;
    const link = new URL(values.link.href);
    link.searchParams.set("day", date);
    values.link.href = link;
    for (const cursor of cursors) {
      cursor.firstChild.hidden = !marked;
      cursor.firstChild.style.left = `${(100 * (chosen + 0.5)) / days.length}%`;
    }
    const [load, , , ratio, trimp, , , trimpRatio, marks] = days[chosen];
    cursors[0].setAttribute("aria-valuenow", chosen);
    cursors[0].setAttribute("aria-valuetext",
      `${date}: ACWR ${ratio} by load, ${trimpRatio} by TRIMP; load ${load}, TRIMP ${trimp}${marks ? "; " + marks.replaceAll(",", ", ") : ""}`);
  };

  for (const frame of section.querySelectorAll(".frame")) {
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    cursor.append(document.createElement("i"));
    cursor.firstChild.hidden = true;
    const follow = (event) => {
      const box = cursor.getBoundingClientRect();
      choose(Math.floor(((event.clientX - box.left) / box.width) * days.length), true);
    };
    cursor.addEventListener("pointermove", follow);
    cursor.addEventListener("pointerdown", follow);
    frame.append(cursor);
    cursors.push(cursor);
    for (const title of frame.querySelectorAll(".days title")) title.remove(); // the browser would show them besides
  }

  const slider = cursors[0];
  slider.tabIndex = 0;
  for (const [name, value] of Object.entries({ role: "slider", "aria-label": "Day of the charts", "aria-valuemin": 0, "aria-valuemax": days.length - 1 })) slider.setAttribute(name, value);
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -28, PageUp: 28, Home: -Infinity, End: Infinity };
  slider.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      location.assign(values.link.href);
    } else if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      choose(chosen + steps[event.key], true);
    }
  });
  choose(chosen, false);
})();
