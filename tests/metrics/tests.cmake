cfm_test(metrics/event_log_test DEPS metrics)
target_link_libraries(metrics_event_log_test PRIVATE nlohmann_json::nlohmann_json)
cfm_test(metrics/progress_test DEPS metrics)
