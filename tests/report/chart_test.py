"""A chart as a file of its own."""

import re
import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from reporting.chart import Chart, Series, standalone  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


class StandaloneChart(unittest.TestCase):
    def test_brings_its_style_its_title_and_its_legend(self):
        chart = Chart("error against time", "seconds", "error", [Series("ours", [(1, 1e-2), (2, 1e-3)]), Series("the other", [(3, 1e-3)], 1)], True, True)
        root = xml.fromstring(standalone(chart))
        words = [text.text for text in root.iter(SVG + "text")]
        for word in ("error against time", "seconds (log)", "error (log)", "ours", "the other"):
            self.assertIn(word, words)
        self.assertEqual(len(list(root.iter(SVG + "circle"))), 3)
        style = root.find(SVG + "style").text
        for name in {name for element in root.iter() for name in element.get("class", "").split()} - {"d0", "tick"}:
            self.assertRegex(style, rf"\.{re.escape(name)}\b", f"nothing says how {name} looks")
        _, _, width, height = map(float, root.get("viewBox").split())
        for text in root.findall(SVG + "text"):
            self.assertTrue(0 <= float(text.get("x")) < width and 0 < float(text.get("y")) < height, text.text)


if __name__ == "__main__":
    unittest.main()
