#pragma once
// Files that are either whole on the disk or not there. Every failure is an Error naming the path and errno's text:
// kRetry where it may pass (a full disk may have room later), kWontWork where it will not.

#include <filesystem>
#include <string>
#include <string_view>

namespace cfm {

// Past the page cache, the bytes of a large file cost no core a copy, and push out nothing that others will read.
enum class Through { kPageCache, kNothing };
// Where kNothing takes bytes from: memory, and sizes of all pieces but the last, at multiples of this.
inline constexpr size_t kDirectBlock = 4096;

// An open file to which bytes are appended. close() fsyncs and reports; the destructor only releases the descriptor.
class DurableFile {
 public:
  // Creates `path`, or truncates it. `through` is a wish: what a file system or an alignment does not allow goes
  // through the page cache.
  explicit DurableFile(std::filesystem::path path, Through through = Through::kPageCache);
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;
  void append(const void* bytes, size_t size);
  void close();

 private:
  void use_page_cache();
  std::filesystem::path path_;
  int descriptor_ = -1;
  bool direct_ = false;
};

// Writes `path` by way of `path`.tmp, fsync and rename: a reader sees the old file or the new one.
void write_durably(const std::filesystem::path& path, std::string_view bytes);

// Makes the bytes of a closed file durable, whoever wrote them (a library that opens files itself).
void fsync_file(const std::filesystem::path& path);

// Makes `folder` and those above it, where they are missing. The error begins with `where`
// ("--out=runs/a") and ends with `advice`, a sentence.
void make_folder(const std::filesystem::path& folder, const std::string& where, const std::string& advice);

// The descriptor of a file whose end is written to, and which is made if it is missing; the caller's to close.
int open_to_append(const std::filesystem::path& path);

// Makes entries of `directory` (a creation, a rename) durable.
void fsync_directory(const std::filesystem::path& directory);

// Renames and makes the rename durable: the commit of whatever `from` holds. `to` must not exist if it is a directory.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

// The whole file, opened anew: a network file system then asks its server.
struct FileBytes {
  std::string bytes;
  int error = 0;  // errno of what failed; then there are no bytes
};
FileBytes try_read_file(const std::filesystem::path& path);

// The same. Error(kWontWork) if it is not there, is no file, or may not be read; Error(kRetry) for what may pass
// (an I/O error, a stale handle, no memory).
std::string read_file(const std::filesystem::path& path);

}  // namespace cfm
