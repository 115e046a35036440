// libjpeg leaves its error handler by longjmp. Each function that calls it here sets its own return point and holds
// nothing that a jump could leave undestroyed; what owns memory lives in the caller.

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>

#include "base/error.h"
#include "data/image_codecs.h"
#include "data/planar.h"

namespace cfm::data {
namespace {

struct Reader {
  jpeg_error_mgr errors{};  // first: libjpeg's pointer to it is a pointer to the Reader
  jpeg_decompress_struct jpeg{};
  jmp_buf return_point{};
  char message[JMSG_LENGTH_MAX] = "";
  bool ended_early = false;
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

void on_error(j_common_ptr jpeg) {
  auto* reader = reinterpret_cast<Reader*>(jpeg->err);
  jpeg->err->format_message(jpeg, reader->message);
  longjmp(reader->return_point, 1);
}

// A file that ends early is only a warning to libjpeg, which paints the rest grey. Other warnings (stray bytes between
// markers) are common and harmless.
void on_message(j_common_ptr jpeg, int level) {
  if (level == -1 && jpeg->err->msg_code == JWRN_JPEG_EOF) reinterpret_cast<Reader*>(jpeg->err)->ended_early = true;
}

bool read_header(Reader& reader, std::string_view bytes) {
  reader.jpeg.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  if (setjmp(reader.return_point) != 0) return false;
  jpeg_create_decompress(&reader.jpeg);
  jpeg_mem_src(&reader.jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&reader.jpeg, TRUE);
  return true;
}

// Rows that are decoded before they are taken apart: they stay in the first-level cache.
constexpr JDIMENSION kRows = 16;

bool start(Reader& reader) {
  if (setjmp(reader.return_point) != 0) return false;
  jpeg_start_decompress(&reader.jpeg);
  return true;
}

// Up to kRows rows, interleaved; 0 if the file is damaged.
JDIMENSION read_rows(Reader& reader, uint8_t* out, size_t stride) {
  if (setjmp(reader.return_point) != 0) return 0;
  JSAMPROW rows[kRows];
  for (size_t y = 0; y < kRows; ++y) rows[y] = out + y * stride;
  const JDIMENSION wanted = std::min(kRows, reader.jpeg.output_height - reader.jpeg.output_scanline);
  const JDIMENSION first = reader.jpeg.output_scanline;
  while (reader.jpeg.output_scanline - first < wanted) {
    const JDIMENSION done = reader.jpeg.output_scanline - first;
    jpeg_read_scanlines(&reader.jpeg, rows + done, wanted - done);
  }
  return wanted;
}

// a b / 255, rounded, for bytes.
uint8_t scaled(int a, int b) {
  const int product = a * b + 128;
  return static_cast<uint8_t>((product + (product >> 8)) >> 8);
}

// Adobe's CMYK, which is stored inverted (255: no ink), as Pillow's convert("RGB") makes it RGB.
void cmyk_to_rgb(uint8_t* pixels, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const int paper = pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c)
      pixels[3 * i + c] = static_cast<uint8_t>(paper - scaled(255 - pixels[4 * i + c], paper));
  }
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.starts_with("\xff\xd8\xff"); }

Image decode_jpeg(std::string_view bytes, const std::string& name) {
  Reader reader;
  const bool begun = read_header(reader, bytes);
  check(begun, name + " is a damaged JPEG: " + reader.message + ".");
  const J_COLOR_SPACE colours = reader.jpeg.jpeg_color_space;
  const bool grey = colours == JCS_GRAYSCALE, cmyk = colours == JCS_CMYK || colours == JCS_YCCK;
  check(grey || cmyk || colours == JCS_YCbCr || colours == JCS_RGB,
        name + " is a JPEG of " + std::to_string(reader.jpeg.num_components) +
            " components, neither grey, RGB nor CMYK. Convert it to RGB.");
  reader.jpeg.out_color_space = grey ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
  Image image{{grey ? 1 : 3, reader.jpeg.image_height, reader.jpeg.image_width}, {}};
  check_area(image.shape, name);
  image.pixels.resize(static_cast<size_t>(image.shape.bytes()));
  const auto width = static_cast<size_t>(image.shape.width), height = static_cast<size_t>(image.shape.height);
  const size_t stride = width * (grey ? 1 : cmyk ? 4 : 3);
  std::vector<uint8_t> rows(stride * kRows);
  bool whole = start(reader);
  for (size_t y = 0; whole && y < height;) {
    const size_t count = read_rows(reader, rows.data(), stride);
    if (cmyk) cmyk_to_rgb(rows.data(), count * width);
    to_planes(rows.data(), count * width, grey ? 1 : 3, image.pixels.data() + y * width, width * height);
    y += count;
    whole = count > 0;
  }
  check(!reader.ended_early, name + " is a damaged JPEG: it ends too early.");
  check(whole, name + " is a damaged JPEG: " + reader.message + ".");
  return image;
}

}  // namespace cfm::data
