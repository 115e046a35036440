cfm_test(packer/pack_test DEPS packer)
cfm_test(packer/source_test DEPS packer)
cfm_test(packer/cfm_pack_test DEPS packer)
add_dependencies(packer_cfm_pack_test cfm_pack)
