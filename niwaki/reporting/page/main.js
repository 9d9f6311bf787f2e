// Which figure is drawn where. What a run did not leave has no figure: the page says so in its place.

if (data.fronts) figure("front", drawFront);
if (data.path.length) figure("path", drawPath);
if (data.cases) figure("flights", drawFlights);
if (data.starts) figure("starts", drawStarts);
if (data.tube) figure("tube", drawTube);
document.documentElement.dataset.drawn = "all";
