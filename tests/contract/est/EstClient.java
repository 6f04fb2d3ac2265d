import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.Set;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;

/** BouncyCastle's EST client: HOST:PORT, the server's root, an operation and what it needs; says a line a result. */
public class EstClient {
    public static void main(String[] words) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        X509Certificate root;
        try (FileInputStream in = new FileInputStream(words[1])) {
            root = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
        JsseESTServiceBuilder builder =
                new JsseESTServiceBuilder(
                        words[0], JcaJceUtils.getCertPathTrustManager(Set.of(new TrustAnchor(root, null)), null));
        String operation = words[2];
        if (operation.equals("reenrol")) {
            KeyStore keys = KeyStore.getInstance("PKCS12");
            try (FileInputStream in = new FileInputStream(words[4])) {
                keys.load(in, words[5].toCharArray());
            }
            builder.withKeyManagers(
                    JcaJceUtils.createKeyManagerFactory("SunX509", null, keys, words[5].toCharArray())
                            .getKeyManagers());
        }
        builder.withLabel("rfc7030"); // this release reads base64 only where a Content-Transfer-Encoding says so
        ESTService service = builder.build();
        if (operation.equals("read")) {
            for (Object holder : service.getCACerts().getCertificateStore().getMatches(null)) {
                print("ca", (X509CertificateHolder) holder);
            }
            for (ASN1ObjectIdentifier wanted : service.getCSRAttributes().getAttributesResponse().getRequirements()) {
                System.out.println("wanted " + wanted.getId());
            }
            return;
        }
        PKCS10CertificationRequest request = new PKCS10CertificationRequest(Files.readAllBytes(Path.of(words[3])));
        ESTAuth auth = null;
        if (operation.equals("enrol")) {
            auth = new JcaHttpAuthBuilder(null, words[4], words[5].toCharArray())
                    .setNonceGenerator(new SecureRandom()).setProvider("BC").build();
        }
        try {
            EnrollmentResponse answer = service.simpleEnroll(operation.equals("reenrol"), request, auth);
            if (!answer.isCompleted()) {
                System.out.println("wait " + (answer.getNotBefore() - System.currentTimeMillis() + 500) / 1000);
                return;
            }
            for (X509CertificateHolder holder : ESTService.storeToArray(answer.getStore())) {
                print("certificate", holder);
            }
        } catch (ESTException refused) {
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            if (refused.getBody() != null) {
                refused.getBody().transferTo(said);
            }
            System.out.println("refused " + refused.getStatusCode() + " " + refused.getMessage() + " " + said.toString("UTF-8"));
        }
    }

    private static void print(String what, X509CertificateHolder holder) throws Exception {
        System.out.println(what + " " + Base64.getEncoder().encodeToString(holder.getEncoded()));
    }
}
