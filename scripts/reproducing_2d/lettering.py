"""Letters of 5 x 7 pixels for the edges of pictures."""

# By columns, the lowest bit on top.
GLYPHS = {
    "0": "3e5149453e", "1": "427f40", "2": "4261514946", "3": "2141454b31", "4": "1814127f10", "5": "2745454539", "6": "3c4a494930",
    "7": "0171090503", "8": "3649494936", "9": "064949291e", ".": "6060", "=": "1414141414", " ": "000000", "E": "7f49494941",
    "F": "7f09090901", "N": "7f0408107f", "a": "2054545478", "b": "7f48444438", "c": "3844444420", "d": "384444487f", "e": "3854545418",
    "f": "087e090102", "g": "0c5252523e", "h": "7f08040478", "i": "447d40", "j": "2040443d", "k": "7f102844", "l": "417f40",
    "m": "7c04180478", "n": "7c08040478", "o": "3844444438", "p": "7c14141408", "q": "081414187c", "r": "7c08040408", "s": "4854545420",
    "t": "043f444020", "u": "3c4040207c", "v": "1c2040201c", "w": "3c4030403c", "x": "4428102844", "y": "0c5050503c", "z": "4464544c44",
}
HEIGHT = 7


def columns_of(text: str) -> list:
    """A byte for each column of pixels."""
    columns = []
    for letter in text:
        columns += [*bytes.fromhex(GLYPHS[letter]), 0]
    return columns[:-1]


def write(rows, text, left, top, ink):
    """Sets the letters' pixels of `rows` (bytearrays) to ink."""
    for i, column in enumerate(columns_of(text)):
        for j in range(HEIGHT):
            if column >> j & 1:
                rows[top + j][left + i] = ink
