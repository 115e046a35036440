// Every flagfile that we ship parses, validates, and gives the network that it says.

#include <gflags/gflags.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "models/unet.h"
#include "trainer/flags.h"

namespace cfm::trainer {
namespace {

TEST(Configs, EachParsesAndValidates) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CFM_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".flags") continue;
    ++count;
    const gflags::FlagSaver defaults_again;
    const auto config =
        read_flags({"--flagfile=" + entry.path().string(), "--run_dir=r", "--train_data=d", "--val_data=v"});
    ASSERT_TRUE(config) << entry.path();
  }
  EXPECT_GE(count, 7);
}

}  // namespace
}  // namespace cfm::trainer
