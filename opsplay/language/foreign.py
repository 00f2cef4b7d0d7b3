"""Modules that playbooks name and opsplay does not have: those of other systems and of Ansible's collections.

Many roles bring in `setup-RedHat.yml` under a condition. Such a task is no mistake as long as it may never be reached:
it fails when it is.
"""

from __future__ import annotations

from opsplay.language.keywords import words

# By their short names, as in Ansible's documentation of ansible.builtin and of the collections in common use.
NAMES = words(
    """apk apache2_module bower bundler capabilities composer consul cpanm cronvar dconf dnf dnf5 dnf_config_manager
    docker_compose docker_compose_v2 docker_container docker_host_info docker_image docker_image_pull docker_login
    docker_network docker_prune docker_stack docker_swarm docker_volume ec2_instance expect filesystem firewalld
    flatpak flatpak_remote gem git_config github_release gunicorn helm homebrew htpasswd influxdb_database
    interfaces_file iptables java_cert java_keystore jenkins_job jenkins_plugin k8s k8s_info kernel_blacklist
    keycloak_client launchd layman ldap_entry lvg lvol lxc_container lxd_container make maven_artifact modprobe
    mongodb_user monit mount_facts mysql_db mysql_query mysql_replication mysql_user mysql_variables nmcli nomad_job
    npm nsupdate open_iscsi openbsd_pkg openssl_csr openssl_dhparam openssl_pkcs12 openssl_privatekey
    openssl_publickey opkg osx_defaults pacman pam_limits pamd parted patch pear pids pipx pkgin pkgng podman_container
    podman_image podman_network portage postgresql_copy postgresql_db postgresql_ext postgresql_info
    postgresql_lang postgresql_membership postgresql_owner postgresql_pg_hba postgresql_ping postgresql_privs
    postgresql_query postgresql_schema postgresql_set postgresql_table postgresql_user proxysql_query rabbitmq_user
    rabbitmq_vhost redis redhat_subscription rhsm_repository route53 rpm_key rpm_ostree_pkg runit s3_object
    s3_sync seboolean sefcontext selinux selinux_permissive selogin seport slack snap ssh_config subversion
    supervisorctl svc swdepot swupd sysrc sysupgrade sysvinit telegram terraform ufw vdo vmware_guest wakeonlan
    win_command win_copy win_feature win_file win_service win_shell win_user x509_certificate xattr xbps xml yarn
    yum yum_repository zfs zpool zypper zypper_repository"""
)


def is_foreign(name: str, short_name: str) -> bool:
    """Whether a name is another's module, and no mistake in writing: one of those, or one of a collection."""
    return short_name in NAMES or name.count(".") >= 2
