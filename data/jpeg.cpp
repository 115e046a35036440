// libjpeg leaves its error handler by longjmp. Each function that calls it here sets its own return point and holds
// nothing that a jump could leave undestroyed; what owns memory lives in the caller.

#include <cstdio>
// jpeglib.h needs FILE and size_t declared before it.
#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>

#include "base/error.h"
#include "data/image_codecs.h"

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

bool read_rows(Reader& reader, unsigned char* out, size_t stride) {
  if (setjmp(reader.return_point) != 0) return false;
  jpeg_start_decompress(&reader.jpeg);
  while (reader.jpeg.output_scanline < reader.jpeg.output_height) {
    JSAMPROW row = out + reader.jpeg.output_scanline * stride;
    jpeg_read_scanlines(&reader.jpeg, &row, 1);
  }
  return true;
}

}  // namespace

bool is_jpeg(std::string_view bytes) { return bytes.starts_with("\xff\xd8\xff"); }

Image decode_jpeg(std::string_view bytes, const std::string& name) {
  Reader reader;
  check(read_header(reader, bytes), name + " is a damaged JPEG: " + reader.message + ".");
  const J_COLOR_SPACE colours = reader.jpeg.jpeg_color_space;
  check(colours == JCS_GRAYSCALE || colours == JCS_YCbCr || colours == JCS_RGB,
        name + " is a JPEG of " + std::to_string(reader.jpeg.num_components) +
            " components, neither grey nor RGB (CMYK?). Convert it to RGB.");
  reader.jpeg.out_color_space = colours == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
  const ImageShape shape{colours == JCS_GRAYSCALE ? 1 : 3, reader.jpeg.image_height, reader.jpeg.image_width};
  check_area(shape, name);
  std::vector<uint8_t> interleaved(static_cast<size_t>(shape.bytes()));
  const bool whole = read_rows(reader, interleaved.data(), static_cast<size_t>(shape.width * shape.channels));
  check(whole, name + " is a damaged JPEG: " + reader.message + ".");
  check(!reader.ended_early, name + " is a damaged JPEG: it ends too early.");
  return planar(shape, interleaved);
}

}  // namespace cfm::data
