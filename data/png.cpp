// libpng reports errors by longjmp. Each function that calls it here sets its own return point and holds nothing that a
// jump could leave undestroyed; what owns memory lives in the callers.

#include <png.h>

#include <csetjmp>
#include <cstring>

#include "base/durable_file.h"
#include "base/error.h"
#include "data/image_codecs.h"

namespace cfm::data {
namespace {

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view rest;
  char message[128] = "";
  png_uint_32 width = 0, height = 0;
  png_byte channels = 0;
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(reader->message, message, sizeof reader->message - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (size > reader->rest.size()) png_error(png, "it ends too early");
  std::memcpy(out, reader->rest.data(), size);
  reader->rest.remove_prefix(size);
}

// Reads the header and asks for 8 bits of grey or RGB.
bool read_header(Reader& reader) {
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning);
  if (reader.png == nullptr) return false;
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  reader.info = png_create_info_struct(reader.png);
  png_set_read_fn(reader.png, &reader, on_read);
  png_set_user_limits(reader.png, 65535, 65535);
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);
  png_set_strip_16(reader.png);
  png_set_strip_alpha(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  reader.width = png_get_image_width(reader.png, reader.info);
  reader.height = png_get_image_height(reader.png, reader.info);
  reader.channels = png_get_channels(reader.png, reader.info);
  return true;
}

bool read_rows(Reader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, nullptr);
  return true;
}

}  // namespace

bool is_png(std::string_view bytes) { return bytes.starts_with("\x89PNG\r\n\x1a\n"); }

Image decode_png(std::string_view bytes, const std::string& name) {
  Reader reader;
  reader.rest = bytes;
  const bool begun = read_header(reader);
  check(begun, name + " is a damaged PNG: " + reader.message + ".");
  check(reader.channels == 1 || reader.channels == 3,
        name + " is a PNG of " + std::to_string(reader.channels) + " channels; expected grey or RGB.");
  check_area({reader.channels, reader.height, reader.width}, name);
  const size_t stride = size_t{reader.width} * reader.channels;
  std::vector<uint8_t> interleaved(stride * reader.height);
  std::vector<png_bytep> rows(reader.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = interleaved.data() + y * stride;
  const bool whole = read_rows(reader, rows.data());
  check(whole, name + " is a damaged PNG: " + reader.message + ".");
  return planar({reader.channels, reader.height, reader.width}, interleaved);
}

// The simplified API, which reports errors by its return value.
void write_png(const std::filesystem::path& path, const Image& image) {
  const ImageShape shape = image.shape;
  check((shape.channels == 1 || shape.channels == 3) && static_cast<int64_t>(image.pixels.size()) == shape.bytes(),
        "cannot write " + path.string() + ": " + std::to_string(image.pixels.size()) + " bytes of " +
            std::to_string(shape.channels) +
            " channels; expected 1 or 3 channels, and a byte for each pixel and channel.");
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(shape.width);
  header.height = static_cast<png_uint_32>(shape.height);
  header.format = shape.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  const std::vector<uint8_t> pixels = interleaved(image);
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::string bytes(size, '\0');
  const int written = png_image_write_to_memory(&header, bytes.data(), &size, 0, pixels.data(), 0, nullptr);
  check(written != 0, "cannot encode " + path.string() + ": " + header.message);
  write_durably(path, std::string_view(bytes).substr(0, size));
}

}  // namespace cfm::data
