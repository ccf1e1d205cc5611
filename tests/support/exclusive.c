/* A hook for ALSA's plugin "hooks": whoever opens the device holds a lock until it closes it, and meanwhile nobody
   else can open it. So it is with a sound card; PulseAudio, which the virtual microphone comes from, shares. */

#include <alsa/asoundlib.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <unistd.h>

static int let_go(snd_pcm_hook_t *hook)
{
    return close((int)(intptr_t)snd_pcm_hook_get_private(hook));
}

int _snd_pcm_hook_exclusive_install(snd_pcm_t *pcm, snd_config_t *arguments)
{
    snd_config_t *entry;
    snd_pcm_hook_t *hook;
    const char *path;
    int error = snd_config_search(arguments, "lock", &entry);
    if (error < 0 || (error = snd_config_get_string(entry, &path)) < 0)
        return error;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    if (flock(file, LOCK_EX | LOCK_NB) < 0) {
        close(file);
        return -EBUSY;
    }
    error = snd_pcm_hook_add(&hook, pcm, SND_PCM_HOOK_TYPE_CLOSE, let_go, (void *)(intptr_t)file);
    if (error < 0)
        close(file);
    return error;
}
SND_DLSYM_BUILD_VERSION(_snd_pcm_hook_exclusive_install, SND_PCM_DLSYM_VERSION);
